//! codalab-service
