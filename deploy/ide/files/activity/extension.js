// Touches a file while the window is active: an open tab that nobody looks at is not. The agent reads its time.
const fs = require("fs");
const vscode = require("vscode");

exports.activate = context => {
  const file = process.env.BERTH_ACTIVITY_FILE;
  if (!file) return;
  const touch = () => { if (vscode.window.state.active) fs.writeFile(file, "", () => {}); };
  const timer = setInterval(touch, 5000);
  context.subscriptions.push(vscode.window.onDidChangeWindowState(touch), { dispose: () => clearInterval(timer) });
  touch();
};
