use super::*;
use crate::definition::OUTPUT_KEY;

fn binding() -> BindingId {
    "b-1".parse().expect("a binding")
}

/// A field of the group under test, or of a single column.
fn field(id: FieldId, name: &str, part: Option<&str>) -> FieldView {
    let mut metadata = BTreeMap::from([(BINDING_KEY.to_owned(), "b-1".to_owned())]);
    if let Some(part) = part {
        metadata.insert(OUTPUT_KEY.to_owned(), part.to_owned());
    }
    FieldView {
        id,
        name: name.to_owned(),
        data_type: "int32".to_owned(),
        nullable: true,
        metadata,
        tree_ids: vec![id],
    }
}

fn table(fields: Vec<FieldView>) -> TableView {
    TableView {
        version: 1,
        created_ms: 0,
        fields,
        fragments: vec![],
        metadata: BTreeMap::new(),
        stable_row_ids: false,
        rewrites_redistribute: false,
    }
}

fn group() -> Definition {
    let mut definition = Definition::sql("width", "int32", "size(a)", "size(a)", vec![]);
    definition.outputs.push("height".to_owned());
    definition.output_types.push("int32".to_owned());
    definition
}

fn bound(fields: Vec<FieldView>) -> Result<BoundColumn, Detached> {
    bind(&binding(), group(), &table(fields))
}

fn part_gone(column: &str) -> Detached {
    let column = column.to_owned();
    Detached::PartGone { column }
}

#[test]
fn the_fields_of_a_group_are_told_apart_by_what_they_say_and_not_by_name_or_place() {
    let fields = vec![
        field(5, "width", Some("height")),
        field(9, "w", Some("width")),
    ];
    let bound = bound(fields).expect("it acts");
    let ids: Vec<FieldId> = bound.outputs.iter().map(|output| output.id).collect();
    assert_eq!((ids, bound.key()), (vec![9, 5], 9));
    assert_eq!(bound.name, "w,width");
    assert!(bound.fills(5) && bound.fills(9) && !bound.fills(1));
    for (name, is_its) in [
        ("w", true),
        ("width", true),
        ("w,width", true),
        ("height", false),
    ] {
        assert_eq!(bound.is_named(name), is_its, "{name}");
    }
}

#[test]
fn a_group_of_which_a_column_is_gone_or_another_one_is_detached() {
    let width = || field(5, "width", Some("width"));
    assert_eq!(bound(vec![width()]), Err(part_gone("height")));
    // A column of the same name that somebody made is not ours.
    let theirs = FieldView {
        metadata: BTreeMap::new(),
        ..field(9, "height", None)
    };
    assert_eq!(bound(vec![width(), theirs]), Err(part_gone("height")));
    assert_eq!(bound(vec![]), Err(Detached::OutputGone));
    let cast = FieldView {
        data_type: "int64".to_owned(),
        ..field(9, "height", Some("height"))
    };
    let (declared, found) = ("int32".to_owned(), "int64".to_owned());
    let wrong = Detached::OutputType { declared, found };
    assert_eq!(bound(vec![width(), cast]), Err(wrong));
}

#[test]
fn a_single_column_is_no_part_of_a_group() {
    let single = Definition::sql("width", "int32", "1", "1", vec![]);
    let part = field(5, "width", Some("width"));
    let alone = bind(&binding(), single.clone(), &table(vec![part.clone()]));
    assert_eq!(alone, Err(Detached::OutputGone));
    let fields = vec![part, field(9, "w", None)];
    let both = bind(&binding(), single, &table(fields)).expect("it acts");
    assert_eq!((both.key(), both.name.as_str()), (9, "w"));
}

#[test]
fn a_group_stands_in_a_version_only_with_all_of_its_fields() {
    let fields = vec![
        field(5, "width", Some("width")),
        field(9, "height", Some("height")),
    ];
    let group = bound(fields.clone()).expect("it acts");
    assert!(group.is_carried_by(&table(fields.clone())));
    assert!(!group.is_carried_by(&table(fields[..1].to_vec())));
}
