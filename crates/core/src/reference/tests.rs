use super::*;

#[test]
fn a_familiar_name_is_completed() {
    let reference = Reference::parse("nginx:1.25").unwrap();
    assert_eq!(reference.to_string(), "docker.io/library/nginx:1.25");
}
