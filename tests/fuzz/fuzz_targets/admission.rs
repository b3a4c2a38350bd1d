#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| image_swap_properties::admission(data));
