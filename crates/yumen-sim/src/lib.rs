//! A whole cluster on a virtual network with a seed: the real gate, node, link and locator code.
