//! Restores of a backup.
