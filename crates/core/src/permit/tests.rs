use proptest::prelude::*;

use super::*;

fn program(entrypoint: &str, artifact: &str, environment: &str) -> Program {
    Program {
        entrypoint: entrypoint.to_owned(),
        artifact: artifact.to_owned(),
        environment: environment.to_owned(),
    }
}

fn definition(program: &Program, secrets: &[&str], env: &[(&str, &str)]) -> Definition {
    let Program {
        entrypoint,
        artifact,
        environment,
    } = program.clone();
    let function = Function::Python {
        entrypoint,
        artifact,
        environment,
        version: None,
    };
    let mut definition = Definition::new("caption", "utf8", function, vec![]);
    definition.secrets = secrets.iter().map(|name| (*name).to_owned()).collect();
    definition.call.env = owned(env);
    definition
}

fn owned(env: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = env.iter();
    let pairs = pairs.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    pairs.collect()
}

fn permit() -> Permit {
    Permit {
        version: Permit::VERSION,
        function: "f".repeat(64),
        program: program("udfs:caption", "a1", "e1"),
        secrets: BTreeSet::from(["KEY".to_owned(), "OTHER_KEY".to_owned()]),
        env: owned(&[("PLACE", "here")]),
    }
}

#[test]
fn what_was_registered_may_run_whatever_a_definition_says_of_its_rows() {
    let permit = permit();
    let mut wanted = definition(&permit.program, &["KEY"], &[("PLACE", "here")]);
    assert_eq!(permit.allows(&wanted), Ok(()));
    wanted.filter = Some("a > 1".to_owned());
    wanted.call.batch_size = Some(3);
    wanted.error_policy.max_attempts = 9;
    wanted.resources.memory_mib = Some(10);
    assert_eq!(permit.allows(&wanted), Ok(()));
}

#[test]
fn a_writer_of_a_table_cannot_make_another_thing_of_a_registered_function() {
    let permit = permit();
    let here = [("PLACE", "here")];
    for other in [
        program("udfs:delete_everything", "a1", "e1"),
        program("os:system", "a1", "e1"),
        program("udfs:caption", "a2", "e1"),
        program("udfs:caption", "a1", "e2"),
    ] {
        let refused = permit.allows(&definition(&other, &[], &here));
        assert_eq!(refused, Err(Refusal::NotRegistered(other)));
    }
    let refused = |secrets: &[&str], env: &[(&str, &str)]| {
        let wanted = definition(&permit.program, secrets, env);
        permit.allows(&wanted).expect_err("refused").to_string()
    };
    let secret = refused(&["KEY", "AWS_SECRET_ACCESS_KEY"], &here);
    assert!(secret.contains("'AWS_SECRET_ACCESS_KEY'"), "{secret}");
    for env in [
        &[] as &[(&str, &str)],
        &[("PLACE", "there")],
        &[("PLACE", "here"), ("LD_PRELOAD", "/tmp/mine.so")],
    ] {
        let variable = refused(&["KEY"], env);
        assert!(variable.contains("otherwise"), "{variable}");
    }
}

#[test]
fn a_refusal_says_what_to_do() {
    let text = Refusal::NotRegistered(program("udfs:caption", &"a".repeat(64), &"e".repeat(64)));
    assert_eq!(
        text.to_string(),
        "function udfs:caption (code aaaaaaaaaaaa, environment eeeeeeeeeeee) is not registered with \
         this service: run 'lance-backfill register --udf udfs:caption … --service …' with this code \
         and environment"
    );
}

fn part() -> impl Strategy<Value = String> {
    "[ab:]{0,3}"
}

proptest! {
    #[test]
    fn programs_have_one_permit_each(
        one in (part(), part(), part()),
        other in (part(), part(), part()),
    ) {
        let path = |(a, b, c): &(String, String, String)| program(a, b, c).permit_path();
        prop_assert_eq!(path(&one) == path(&other), one == other);
    }

    #[test]
    fn only_what_the_permit_says_is_ever_allowed(
        entrypoint in part(),
        artifact in part(),
        environment in part(),
        secrets in prop::collection::vec("[AB]{1,2}", 0..3),
        env in prop::collection::btree_map("[AB]{1,2}", "[01]", 0..3),
        permitted_secrets in prop::collection::btree_set("[AB]{1,2}", 0..3),
        permitted_env in prop::collection::btree_map("[AB]{1,2}", "[01]", 0..3),
    ) {
        let permit = Permit {
            program: program("a", "b", "a"),
            secrets: permitted_secrets,
            env: permitted_env,
            ..permit()
        };
        let wanted_program = program(&entrypoint, &artifact, &environment);
        let mut wanted = definition(&wanted_program, &[], &[]);
        wanted.secrets = secrets;
        wanted.call.env = env;
        let within = wanted_program == permit.program
            && wanted.secrets.iter().all(|secret| permit.secrets.contains(secret))
            && wanted.call.env == permit.env;
        prop_assert_eq!(permit.allows(&wanted).is_ok(), within);
    }
}
