//! The differences between SQLite and MySQL, each named once. Everything else is one SQL text for both.
