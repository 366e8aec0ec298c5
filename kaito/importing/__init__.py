"""Import of the logs that Kaito's own controllers wrote: what their lines prove, as histories of events."""
