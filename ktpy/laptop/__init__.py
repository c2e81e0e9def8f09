"""This machine: child processes, state folder, image builders; the only folder that changes it."""
