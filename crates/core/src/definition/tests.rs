use super::*;

fn definition() -> Definition {
    Definition::sql(
        "p",
        "double",
        "a * b",
        "\"a\" * \"b\"",
        vec![Input {
            id: 0,
            name: "a".to_owned(),
        }],
    )
}

#[test]
fn generation_depends_on_what_decides_a_value_and_nothing_else() {
    let base = definition();
    let mut filtered = base.clone();
    filtered.filter = Some("a > 0".to_owned());
    filtered.resources.memory_mib = 7;
    filtered.auto = false;
    assert_eq!(base.generation(), filtered.generation());
    let mut other_type = base.clone();
    other_type.output_types = vec!["float".to_owned()];
    assert_ne!(base.generation(), other_type.generation());
    let mut other_input = base.clone();
    other_input.inputs[0].name = "ab".to_owned();
    assert_ne!(base.generation(), other_input.generation());
}

#[test]
fn a_newer_format_is_refused_and_damage_is_told_apart() {
    use crate::format::{FormatError, decode};
    assert!(matches!(
        decode::<Definition>(br#"{"version": 2, "anything": 1}"#),
        Err(FormatError::Newer {
            found: 2,
            known: 1,
            ..
        })
    ));
    assert!(matches!(
        decode::<Definition>(br#"{"version": 1, "#),
        Err(FormatError::Damaged { .. })
    ));
    assert!(matches!(
        decode::<Definition>(br#"{"version": 1}"#),
        Err(FormatError::Damaged { .. })
    ));
}
