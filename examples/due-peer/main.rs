//! A gate or a node among due's, configured by due's own keys alone.

fn main() {}
