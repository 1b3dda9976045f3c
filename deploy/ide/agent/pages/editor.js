(() => {
  const form = document.getElementById("edit");
  if (!form) return;
  const text = form.elements.text, state = document.getElementById("state");
  const opened = text.value;
  let leaving = false;
  const changed = () => text.value !== opened;
  text.addEventListener("input", () => { state.textContent = changed() ? "Not saved" : ""; });
  form.addEventListener("submit", () => { leaving = true; });
  addEventListener("keydown", e => {
    if ((e.ctrlKey || e.metaKey) && e.key.toLowerCase() === "s") { e.preventDefault(); form.requestSubmit(); }
  });
  addEventListener("beforeunload", e => { if (changed() && !leaving) e.preventDefault(); });
})();
