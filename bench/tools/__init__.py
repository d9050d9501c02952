"""The tools that are measured, each as the command that its users would type."""
