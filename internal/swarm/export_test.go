package swarm

// Update is whether generated files are to be written anew.
var Update = update
