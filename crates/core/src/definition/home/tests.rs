//! Claims about homes and copies.

use proptest::prelude::*;

use super::{
    Home, OldHome, Parent, Records, Residence, STATE_FOLDER, TablePlace, needs_look, residence,
};
use crate::ids::HomeId;

fn id(text: &str) -> HomeId {
    text.parse().expect("an id")
}

fn place(table: &str) -> TablePlace {
    TablePlace {
        table: table.to_owned(),
        branch: None,
    }
}

fn branch(table: &str, branch: &str) -> TablePlace {
    TablePlace {
        branch: Some(branch.to_owned()),
        ..place(table)
    }
}

fn home() -> Home {
    Home::first(id("one"), place("/a"))
}

fn unreachable() -> OldHome {
    OldHome::Unreachable {
        reason: "no permission".to_owned(),
    }
}

fn stays(here: &TablePlace, reads_from_home: bool, look: Option<OldHome>) -> Residence {
    residence(Some(home()), here, reads_from_home, look)
}

#[test]
fn a_table_without_a_home_is_undeclared() {
    let found = residence(None, &place("/a"), false, None);
    assert_eq!(found, Residence::Undeclared);
}

#[test]
fn a_moved_table_goes_on_and_a_copy_does_not() {
    assert!(matches!(
        stays(&place("/a"), false, None),
        Residence::AtHome(_)
    ));
    let moved = stays(&place("/b"), false, Some(OldHome::Gone));
    assert!(matches!(moved, Residence::Moved(_)));
    let mounted = stays(&place("/b"), false, Some(OldHome::SameFolder));
    assert!(matches!(mounted, Residence::AtHome(_)));
    let copied = stays(&place("/b"), false, Some(OldHome::SameTable));
    assert!(matches!(copied, Residence::Copy { doubt: None, .. }));
    let unclear = stays(&place("/b"), false, Some(unreachable()));
    assert!(matches!(unclear, Residence::Copy { doubt: Some(_), .. }));
}

#[test]
fn branches_and_clones_are_copies_whatever_is_at_home() {
    for look in [None, Some(OldHome::Gone), Some(OldHome::SameTable)] {
        for (here, reads) in [
            (branch("/a", "b"), true),
            (branch("/c", "b"), false),
            (place("/c"), true),
        ] {
            assert!(matches!(
                stays(&here, reads, look.clone()),
                Residence::Copy { doubt: None, .. }
            ));
        }
    }
}

#[test]
fn a_claimed_copy_reads_where_its_records_are() {
    let clone = home().claimed(id("two"), place("/b"), Records::AtHome);
    assert_eq!(clone.state, "_backfill/home-two");
    let parent = |at: Option<&str>, state: &str| Parent {
        at: at.map(place),
        state: state.to_owned(),
    };
    assert_eq!(clone.parents, [parent(Some("/a"), STATE_FOLDER)]);
    // A copied folder brings the clone's own records along, and the way to those of its parent.
    let copied = clone.claimed(id("three"), place("/c"), Records::CopiedAlong);
    let expected = [
        parent(None, "_backfill/home-two"),
        parent(Some("/a"), STATE_FOLDER),
    ];
    assert_eq!(copied.parents, expected);
    let cloned = copied.claimed(id("four"), place("/d"), Records::AtHome);
    let expected = [
        parent(Some("/c"), "_backfill/home-three"),
        parent(Some("/c"), "_backfill/home-two"),
        parent(Some("/a"), STATE_FOLDER),
    ];
    assert_eq!(cloned.parents, expected);
    assert_eq!(cloned.moved(place("/e")).parents, cloned.parents);
}

fn any_place() -> impl Strategy<Value = TablePlace> {
    ("/[ab]", proptest::option::of("[xy]")).prop_map(|(table, branch)| TablePlace { table, branch })
}

fn any_look() -> impl Strategy<Value = Option<OldHome>> {
    proptest::option::of(prop_oneof![
        Just(OldHome::Gone),
        Just(OldHome::SameTable),
        Just(OldHome::SameFolder),
        Just(unreachable()),
    ])
}

proptest! {
    /// At most one place of those that exist at the same time may compute without being asked.
    #[test]
    fn while_the_home_is_there_nothing_else_is_home(
        at in any_place(), here in any_place(), reads: bool
    ) {
        let home = Home::first(id("one"), at.clone());
        let found = residence(Some(home), &here, reads, Some(OldHome::SameTable));
        let is_home = matches!(found, Residence::AtHome(_) | Residence::Moved(_));
        prop_assert_eq!(is_home, at == here);
    }

    #[test]
    fn looking_is_only_left_out_where_it_tells_nothing(
        at in any_place(), here in any_place(), reads: bool, look in any_look()
    ) {
        let home = Home::first(id("one"), at);
        let without = residence(Some(home.clone()), &here, reads, None);
        let with = residence(Some(home.clone()), &here, reads, look);
        if !needs_look(&home, &here, reads) {
            prop_assert_eq!(without, with);
        }
    }

    #[test]
    fn a_claimed_copy_is_at_home_and_its_original_stays_so(
        at in any_place(), here in any_place(), reads: bool
    ) {
        let home = Home::first(id("one"), at.clone());
        let own = home.claimed(id("two"), here.clone(), Records::AtHome);
        let at_home = residence(Some(own.clone()), &here, reads, None);
        prop_assert_eq!(at_home, Residence::AtHome(own.clone()));
        prop_assert_ne!(own.state, home.state.clone());
        let at_home = residence(Some(home.clone()), &at, reads, None);
        prop_assert_eq!(at_home, Residence::AtHome(home));
    }
}
