"""What runs the project on a laptop: the environments, the stack of processes, the client, the demo. Nothing on MWAA
needs it."""
