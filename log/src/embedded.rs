//! Segments in a folder, for one process.
