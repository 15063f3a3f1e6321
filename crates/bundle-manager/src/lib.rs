//! bundle-manager
