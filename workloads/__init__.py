"""What clients do, and what must hold. Everything here is pure: no clock, no thread, no socket."""
