//! What computes a column, as options say it; and `register`, which packs a function and no more.

use lance_backfill_core::definition::Pool;
use lance_backfill_core::deployment::{CannotRun, Needs};
use lance_backfill_core::route::NoRoute;
use lance_backfill_embedded::declare::{FunctionRequest, Policy, PythonRequest, Registered};
use lance_backfill_embedded::{Described, Engine, EnvironmentChoice, PackRequest, Target};
use lance_backfill_ports::{Error, Result};
use serde::Serialize;

use crate::args::{FunctionArguments, PackingArguments, ProcessArguments, RegisterArguments};
use crate::exit::Exit;
use crate::output;
use crate::service::Through;

/// The function that the options name; none where they name none.
pub(super) async fn request(
    engine: &Engine,
    arguments: &FunctionArguments,
    through: Option<&Through>,
) -> Result<Option<FunctionRequest>> {
    let FunctionArguments {
        sql,
        udf,
        function,
        inputs,
        packing,
    } = arguments;
    if udf.is_none() && packing.is_given() {
        return Err(Error::invalid(
            "--from, --env, --requirements, --target and --python pack a Python function: give --udf",
        ));
    }
    let registered = match (sql, udf, function) {
        (Some(sql), ..) if inputs.is_none() => return Ok(Some(FunctionRequest::Sql(sql.clone()))),
        (None, Some(udf), _) => {
            refuse_machine(packing, through)?;
            let registered = engine.pack(&pack_request(udf, packing)?).await?;
            tell(&registered);
            registered
        }
        (None, None, Some(digest)) => engine.registered(digest).await?,
        _ if inputs.is_some() => {
            return Err(Error::invalid(
                "--inputs names columns for a Python function: give --udf or --function",
            ));
        }
        _ => return Ok(None),
    };
    Ok(Some(FunctionRequest::Python(Box::new(PythonRequest {
        registered,
        inputs: inputs.clone(),
    }))))
}

/// Refuses, before anything is packed, what only this machine could run.
fn refuse_machine(packing: &PackingArguments, through: Option<&Through>) -> Result<()> {
    if let Some(through) = through
        && through.remote.deployment().classes.is_empty()
    {
        through.check(&Needs {
            python: true,
            ..expression_needs(&Policy::default())
        })?;
    }
    let is_current =
        packing.requirements.is_none() && packing.env.as_deref().is_none_or(|env| env == "current");
    match through {
        Some(_) if is_current => Err(Error::invalid(
            "a service does not have the interpreter of this machine: give --requirements FILE or --env capture, which take its packages along, or --env image:NAME@sha256:…",
        )),
        _ => Ok(()),
    }
}

/// Refuses a new column that nobody could ever compute.
pub(super) fn check_new(
    function: &FunctionRequest,
    policy: &Policy,
    through: Option<&Through>,
) -> Result<()> {
    let needs = match function {
        FunctionRequest::Sql(_) => expression_needs(policy),
        FunctionRequest::Python(python) => needs(&python.registered, policy),
    };
    check_needs(&needs, through)
}

/// What a packed function needs; what was said beside it counts before what its author said.
fn needs<'a>(registered: &'a Registered, policy: &'a Policy) -> Needs<'a> {
    let options = &registered.record.function.options;
    Needs {
        python: true,
        secrets: options.secrets.as_deref().unwrap_or_default(),
        pool: policy.pool.unwrap_or(options.pool()),
        gpus: options.gpus(),
        gpu_class: (policy.gpu_class.as_deref()).or(options.gpu_class.as_deref()),
    }
}

/// What an expression needs.
fn expression_needs(policy: &Policy) -> Needs<'_> {
    Needs {
        python: false,
        secrets: &[],
        pool: policy.pool.unwrap_or(Pool::Cpu),
        gpus: 0.0,
        gpu_class: policy.gpu_class.as_deref(),
    }
}

/// Refuses what nobody could ever run, or what is said of devices where none is asked for.
pub(super) fn check_needs(needs: &Needs<'_>, through: Option<&Through>) -> Result<()> {
    let wants_gpu = needs.pool == Pool::Gpu || needs.gpus > 0.0;
    if let (false, Some(class)) = (wants_gpu, needs.gpu_class) {
        return Err(Error::invalid(format!(
            "the GPU class '{class}' is named, and no GPU is asked for: give --pool gpu, or num_gpus in the function, or leave --gpu-class out"
        )));
    }
    if wants_gpu && !needs.python {
        return Err(Error::invalid(
            "an expression is computed on CPUs: leave --pool gpu out",
        ));
    }
    match through {
        Some(through) => through.check(needs),
        None => Ok(()),
    }
}

/// Refuses to register what the service could never run, whatever is said when a column is declared.
fn check_registered(registered: &Registered, through: Option<&Through>) -> Result<()> {
    let Some(through) = through else {
        return Ok(());
    };
    let deployment = through.remote.deployment();
    let policy = Policy::default();
    match deployment.check(&needs(registered, &policy)) {
        Ok(()) => Ok(()),
        // '--gpu-class' and '--pool' are said there.
        Err(CannotRun::NoRoute {
            why: NoRoute::WhichClass { .. },
            ..
        }) => Ok(()),
        Err(CannotRun::NoPython { .. }) if !deployment.classes.is_empty() => Ok(()),
        Err(refused) => Err(Error::invalid(refused.to_string())),
    }
}

/// What packing found worth telling.
fn tell(registered: &Registered) {
    let Some((notes, _)) = registered.packed() else {
        return;
    };
    for note in notes {
        output::note(note);
    }
}

fn pack_request(udf: &str, arguments: &PackingArguments) -> Result<PackRequest> {
    let PackingArguments {
        from,
        env,
        requirements,
        target,
        python,
    } = arguments;
    let environment = match (env.as_deref(), requirements) {
        (None | Some("current"), None) => EnvironmentChoice::Current,
        (Some("capture"), None) => EnvironmentChoice::Capture,
        (None, Some(file)) => EnvironmentChoice::Requirements {
            file: absolute(file)?,
        },
        (Some(text), _) => match text.strip_prefix("image:") {
            Some(image) => EnvironmentChoice::Image {
                image: image.to_owned(),
            },
            None => {
                return Err(Error::invalid(format!(
                    "--env '{text}' is neither 'current', 'capture' nor 'image:NAME@sha256:…'"
                )));
            }
        },
    };
    if matches!(environment, EnvironmentChoice::Current) && (target.is_some() || python.is_some()) {
        return Err(Error::invalid(
            "--env current runs with the interpreter of this machine: --target and --python go with --env capture or --requirements",
        ));
    }
    let from = from
        .as_ref()
        .ok_or_else(|| Error::invalid("--from says where the code of --udf is"))?;
    Ok(PackRequest {
        entrypoint: udf.to_owned(),
        from: absolute(from)?,
        environment,
        target: Target {
            platform: target.clone(),
            python: python.clone(),
        },
    })
}

/// A path that means the same from another folder.
pub(super) fn absolute(path: &std::path::Path) -> Result<std::path::PathBuf> {
    std::path::absolute(path).map_err(|error| {
        Error::invalid(format!("'{}' is not a path", path.display())).with_source(error)
    })
}

#[derive(Serialize)]
struct Document<'a> {
    table: &'a str,
    /// What 'column add --function' takes.
    function: &'a str,
    entrypoint: &'a str,
    artifact: &'a str,
    environment: &'a str,
    environment_summary: String,
    output_type: &'a str,
    packed_bytes: u64,
    declared: &'a Described,
    notes: &'a [String],
}

pub(super) async fn register(
    arguments: &RegisterArguments,
    process: &ProcessArguments,
    json: bool,
) -> Result<Exit> {
    let through = Through::to_take_in(&arguments.table, process).await?;
    refuse_machine(&arguments.packing, through.as_ref())?;
    let engine = super::open_through(&arguments.table, process, through.as_ref()).await?;
    let request = pack_request(&arguments.udf, &arguments.packing)?;
    let registered = engine.pack(&request).await?;
    check_registered(&registered, through.as_ref())?;
    engine.register_function(&registered).await?;
    let (notes, packed_bytes) = registered.packed().unwrap_or_default();
    let record = &registered.record;
    let document = Document {
        table: &arguments.table,
        function: &registered.digest,
        entrypoint: &record.entrypoint,
        artifact: &record.artifact,
        environment: &record.environment,
        environment_summary: registered.lock.summary(),
        output_type: &record.output_type,
        packed_bytes,
        declared: &record.function,
        notes,
    };
    if !json {
        tell(&registered);
    }
    Ok(output::result(json, &document, || text(&document)))
}

fn text(document: &Document<'_>) -> String {
    let Document {
        table,
        function,
        entrypoint,
        environment_summary,
        output_type,
        declared,
        ..
    } = document;
    let short: String = function.chars().take(12).collect();
    format!(
        "registered {entrypoint}({}) -> {output_type} as {short}, to run in {environment_summary}\nnext: lance-backfill column add {table} COLUMN --function {short}",
        declared.inputs.join(", ")
    )
}
