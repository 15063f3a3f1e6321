//! Real containers, where an engine answers and the image for tests exists; otherwise nothing is tested here (the
//! end-to-end suite insists on both).
