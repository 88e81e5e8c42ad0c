use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::definition::{BINDING_KEY, bind};
use crate::state::Inputs;
use crate::table::{FieldView, FileView, FragmentView, TableView};
use crate::testing::binding;

fn input(id: FieldId) -> Input {
    Input {
        id,
        name: format!("c{id}"),
    }
}

/// A definition whose expression is over these columns.
fn over(ids: &[FieldId]) -> Definition {
    let text = format!("{ids:?}");
    let inputs = ids.iter().copied().map(input).collect();
    Definition::sql("p", "double", &text, &text, inputs)
}

/// Columns read by a few expressions, in the order of their names.
fn some_reads() -> impl Strategy<Value = Vec<FieldId>> {
    prop::collection::btree_set(1..4, 0..3).prop_map(|ids| ids.into_iter().collect())
}

fn some_edit() -> impl Strategy<Value = (Vec<FieldId>, Option<String>, OnChange)> {
    let filter = prop::option::of(Just("c1 > 0".to_owned()));
    let on_change = prop_oneof![3 => Just(OnChange::OnlyNew), 1 => Just(OnChange::RecomputeAll)];
    (some_reads(), filter, on_change)
}

proptest! {
    #[test]
    fn after_any_edits_every_state_is_found_under_what_was_watched_when_it_was_written(
        first in some_reads(),
        edits in prop::collection::vec(some_edit(), 0..8),
    ) {
        let mut now = over(&first);
        let mut keys = vec![now.key()];
        let mut accepted = vec![first];
        for (reads, filter, on_change) in edits {
            let mut edited = over(&reads);
            edited.filter = filter;
            edited.succeed(&now, on_change);
            if on_change == OnChange::RecomputeAll {
                accepted.clear();
            }
            accepted.push(reads.clone());
            // Exactly the generations since the last choice to compute all again count.
            for reads in &accepted {
                prop_assert!(edited.accepts(&edited.generation(), &over(reads).generation()));
            }
            prop_assert!(!edited.accepted_generations.contains_key(&edited.generation()));
            let read: BTreeSet<FieldId> = accepted.concat().into_iter().collect();
            let watched: BTreeSet<FieldId> = ids(&edited.watched()).into_iter().collect();
            prop_assert_eq!(watched, read);
            now = edited;
            keys.push(now.key());
            // Each earlier key is there once, the newest first.
            let mut expected: Vec<Earlier> = vec![];
            for key in keys.iter().rev() {
                if *key != now.key() && !expected.contains(key) {
                    expected.push(key.clone());
                }
            }
            prop_assert_eq!(&now.earlier, &expected);
        }
    }
}

#[test]
fn generations_over_the_same_columns_watch_no_more_than_one_does() {
    let old = over(&[1, 2]);
    let mut edited = over(&[1, 2]);
    edited.function = over(&[7]).function;
    edited.succeed(&old, OnChange::OnlyNew);
    assert!(edited.accepts(&edited.generation(), &old.generation()));
    assert_eq!(edited.older().count(), 0);
    assert_eq!(edited.watched(), old.inputs);
    assert_eq!(edited.earlier, []);
}

#[test]
fn there_and_back_watches_the_same() {
    let first = over(&[2]);
    let mut second = over(&[1]);
    second.succeed(&first, OnChange::OnlyNew);
    let mut third = over(&[2]);
    third.succeed(&second, OnChange::OnlyNew);
    assert_eq!(second.watched(), third.watched());
    assert_eq!(second.earlier, third.earlier);
    assert!(third.accepts(&third.generation(), &second.generation()));
}

#[test]
fn whoever_names_a_column_says_what_it_is_called_now() {
    let old = over(&[1, 2]);
    let mut edited = over(&[2]);
    edited.inputs[0].name = "renamed".to_owned();
    edited.succeed(&old, OnChange::OnlyNew);
    let names = |inputs: &[Input]| inputs.iter().map(|it| it.name.clone()).collect::<Vec<_>>();
    let older = &edited.accepted_generations[&old.generation()];
    assert_eq!(names(older), ["c1", "renamed"]);
}

#[test]
fn an_id_that_was_given_to_another_column_since_names_nothing_of_generations_before() {
    let first = over(&[1, 2]);
    let mut second = over(&[1]);
    second.succeed(&first, OnChange::OnlyNew);
    // Column 2 was dropped, and its id went to a new column.
    let mut third = over(&[2]);
    third.inputs[0].name = "another".to_owned();
    third.succeed(&second, OnChange::OnlyNew);
    assert_eq!(
        third.accepted_generations[&first.generation()],
        first.inputs
    );
}

#[test]
fn the_same_expression_over_a_column_that_took_a_name_is_told_apart() {
    let old = over(&[1]);
    let mut edited = old.clone();
    edited.inputs[0].id = 9;
    assert_eq!(edited.generation(), old.generation());
    assert!(edited.replaces_inputs_of(&old));
    assert!(!old.replaces_inputs_of(&old));
    let mut between = over(&[2]);
    assert!(!between.replaces_inputs_of(&old));
    between.succeed(&old, OnChange::OnlyNew);
    assert!(edited.replaces_inputs_of(&between));
    assert!(!old.replaces_inputs_of(&between));
}

/// A table with these columns and `p`, and one fragment whose file has columns 1 to 3 and `p`.
fn table(columns: &[(FieldId, &str)]) -> TableView {
    let field = |id: FieldId, name: &str, metadata: BTreeMap<String, String>| FieldView {
        id,
        name: name.to_owned(),
        data_type: "double".to_owned(),
        nullable: true,
        metadata,
        tree_ids: vec![id],
    };
    let carried = BTreeMap::from([(BINDING_KEY.to_owned(), binding().to_string())]);
    let mut fields = vec![field(8, "p", carried)];
    fields.extend(
        columns
            .iter()
            .map(|(id, name)| field(*id, name, BTreeMap::new())),
    );
    TableView {
        version: 1,
        created_ms: 0,
        fields,
        fragments: vec![fragment("f")],
        metadata: BTreeMap::new(),
        stable_row_ids: false,
        rewrites_redistribute: false,
    }
}

/// A fragment whose first column is in a file of this name.
fn fragment(first: &str) -> FragmentView {
    let file = |name: &str, fields: &[FieldId]| FileView {
        name: name.to_owned(),
        fields: fields.into(),
        columns: (0..).take(fields.len()).collect(),
        size_bytes: None,
    };
    FragmentView {
        id: 0,
        physical_rows: 1,
        deletion: None,
        files: vec![file(first, &[1]), file("rest", &[2, 3, 8])],
        overlays: vec![],
    }
}

/// Altered from an expression over the first column to one over the second.
fn altered() -> (GenerationId, Definition) {
    let old = over(&[1]);
    let mut edited = over(&[2]);
    edited.succeed(&old, OnChange::OnlyNew);
    (old.generation(), edited)
}

#[test]
fn each_generation_is_compared_in_the_columns_that_it_reads() {
    let (old, edited) = altered();
    let columns = [(1, "c1"), (2, "c2")];
    let bound = bind(&binding(), edited, &table(&columns)).expect("binds");
    let then = bound.identify(&fragment("f")).0;
    let now = bound.identify(&fragment("g")).0;
    let own = Some(&bound.generation);
    assert_eq!(now.compare(own, then.of(own)), Inputs::Same);
    let older = Some(&old);
    assert_eq!(now.compare(older, then.of(older)), Inputs::Changed);
    assert_eq!(now.compare(None, then.watched), Inputs::Changed);
    assert_eq!(then.compare(older, then.of(older)), Inputs::Same);
    // What was settled before the edit is so still, by the fingerprint that it had.
    let before = bind(&binding(), over(&[1]), &table(&columns)).expect("binds");
    let print = |view: &FragmentView| before.identify(view).0.fingerprint(view);
    let (f, g) = (fragment("f"), fragment("g"));
    assert_eq!(then.earlier_of(&f, print(&f)), Some(0));
    assert_eq!(now.earlier_of(&g, print(&f)), None);
    assert!(bound.was_watched(0, &old));
    assert!(!bound.was_watched(0, &bound.generation));
}

#[test]
fn a_change_of_a_column_that_is_gone_or_renamed_proves_nothing() {
    let (old, edited) = altered();
    let columns: [&[(FieldId, &str)]; 2] = [&[(2, "c2")], &[(1, "other"), (2, "c2")]];
    for columns in columns {
        let bound = bind(&binding(), edited.clone(), &table(columns)).expect("binds");
        let then = bound.identify(&fragment("f")).0;
        let now = bound.identify(&fragment("g")).0;
        let older = Some(&old);
        assert_eq!(then.compare(older, then.of(older)), Inputs::Same);
        assert_eq!(now.compare(older, then.of(older)), Inputs::Untold);
        assert_eq!(now.compare(None, then.watched), Inputs::Untold);
    }
}
