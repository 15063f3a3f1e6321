//! The grammar shared by the three searches (data-model section 16.1).
