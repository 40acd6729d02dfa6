//! Load generator and bare relay.
