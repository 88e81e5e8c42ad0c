//! Which workers do the batches of a column: those of the service's own queues, or those of a class.
//!
//! A class is a kind of workers in pods with queues of their own: one for each kind of GPU that is
//! deployed, and one for the CPUs of a Ray cluster.

use crate::definition::{Definition, Pool};

/// The class of the CPU workers of a Ray cluster.
pub const RAY_CPU: &str = "ray-cpu";

/// What a column asks for, of all that decides who computes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wish<'a> {
    /// Workers that compute it.
    pub pool: Pool,
    /// Devices of one call.
    pub gpus: f64,
    /// Kind of GPU, if it matters.
    pub gpu_class: Option<&'a str>,
}

/// Who does the batches of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route<'a> {
    /// Any worker of the service.
    Workers,
    /// The workers of a class.
    Class(&'a str),
}

/// Why nobody does them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRoute {
    /// No class has GPUs.
    #[error("has no GPU workers: deploy a class of them ('gpu_classes' of the Terraform module)")]
    NoGpu,
    /// The class is not deployed.
    #[error("has no GPU workers of class '{class}', only of {}: name one of these with --gpu-class", listed(.deployed))]
    NoSuchClass {
        /// What was asked for.
        class: String,
        /// What there is.
        deployed: Vec<String>,
    },
    /// Several classes have GPUs, and none is named.
    #[error("has several classes of GPU workers ({}): name one with --gpu-class", listed(.deployed))]
    WhichClass {
        /// What there is.
        deployed: Vec<String>,
    },
    /// No Ray cluster takes its batches.
    #[error(
        "has no CPU workers on Ray: deploy them ('ray_cpu' of the Terraform module), or leave the pool 'ray-cpu' out"
    )]
    NoRay,
}

fn listed(classes: &[String]) -> String {
    classes.join(", ")
}

impl<'a> Wish<'a> {
    /// That of a declared column.
    pub fn of(definition: &'a Definition) -> Self {
        Self {
            pool: definition.pool,
            gpus: definition.resources.gpus,
            gpu_class: definition.resources.gpu_class.as_deref(),
        }
    }

    /// Whether a device is needed.
    pub fn wants_gpu(&self) -> bool {
        self.pool == Pool::Gpu || self.gpus > 0.0
    }

    /// Whether a worker of this class can do it, or, without a class, one that serves the service's own
    /// queues: a batch may come by another way than new ones take, since a column was edited meanwhile.
    ///
    /// Any GPU will do then: it was the column's class when the batch was sent.
    pub fn suits(&self, class: Option<&str>) -> bool {
        match (self.wants_gpu(), class) {
            (true, class) => class.is_some_and(is_gpu),
            (false, None) => self.pool != Pool::RayCpu,
            (false, Some(_)) => true,
        }
    }
}

fn is_gpu(class: &str) -> bool {
    class != RAY_CPU
}

/// Decides who does the batches of a column, where these classes are deployed.
pub fn route<'a>(
    wish: &Wish<'_>,
    classes: impl Iterator<Item = &'a str>,
) -> Result<Route<'a>, NoRoute> {
    let classes: Vec<&str> = classes.collect();
    if !wish.wants_gpu() {
        return match wish.pool {
            Pool::RayCpu => (classes.into_iter().find(|class| *class == RAY_CPU))
                .map(Route::Class)
                .ok_or(NoRoute::NoRay),
            Pool::Cpu | Pool::Gpu => Ok(Route::Workers),
        };
    }
    let deployed: Vec<&str> = classes.into_iter().filter(|class| is_gpu(class)).collect();
    let names = || deployed.iter().map(|class| (*class).to_owned()).collect();
    match (wish.gpu_class, deployed.as_slice()) {
        (_, []) => Err(NoRoute::NoGpu),
        (Some(wanted), all) => match all.iter().find(|class| **class == wanted) {
            Some(class) => Ok(Route::Class(class)),
            None => Err(NoRoute::NoSuchClass {
                class: wanted.to_owned(),
                deployed: names(),
            }),
        },
        (None, [only]) => Ok(Route::Class(only)),
        (None, _) => Err(NoRoute::WhichClass { deployed: names() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn wish(pool: Pool, gpus: f64, gpu_class: Option<&str>) -> Wish<'_> {
        Wish {
            pool,
            gpus,
            gpu_class,
        }
    }

    fn routed<'a>(wish: Wish<'_>, classes: &[&'a str]) -> Result<Route<'a>, NoRoute> {
        route(&wish, classes.iter().copied())
    }

    #[test]
    fn what_asks_for_nothing_goes_to_any_worker() {
        for classes in [&[][..], &["a10g"], &["a10g", RAY_CPU]] {
            assert_eq!(
                routed(wish(Pool::Cpu, 0.0, None), classes),
                Ok(Route::Workers)
            );
        }
    }

    #[test]
    fn a_gpu_is_of_the_class_that_is_named_or_of_the_only_one() {
        for asks in [
            wish(Pool::Gpu, 0.0, None),
            wish(Pool::Cpu, 0.5, None),
            // A device is what counts, whatever the pool says.
            wish(Pool::RayCpu, 1.0, None),
        ] {
            assert_eq!(routed(asks, &["a10g", RAY_CPU]), Ok(Route::Class("a10g")));
            assert_eq!(routed(asks, &[RAY_CPU]), Err(NoRoute::NoGpu));
            let several = routed(asks, &["a10g", "l4", RAY_CPU]).expect_err("which one");
            assert!(several.to_string().contains("a10g, l4)"), "{several}");
        }
        let named = wish(Pool::Gpu, 1.0, Some("l4"));
        assert_eq!(routed(named, &["a10g", "l4"]), Ok(Route::Class("l4")));
        let refused = routed(named, &["a10g", RAY_CPU]).expect_err("no such class");
        let told = refused.to_string();
        assert!(told.contains("'l4', only of a10g:"), "{told}");
        // The name of the CPU workers is no GPU's.
        let cpus = wish(Pool::Gpu, 1.0, Some(RAY_CPU));
        assert!(routed(cpus, &["a10g", RAY_CPU]).is_err());
    }

    #[test]
    fn a_ray_cluster_takes_what_asks_for_it() {
        let asks = wish(Pool::RayCpu, 0.0, None);
        assert_eq!(routed(asks, &["a10g", RAY_CPU]), Ok(Route::Class(RAY_CPU)));
        assert_eq!(routed(asks, &["a10g"]), Err(NoRoute::NoRay));
    }

    #[test]
    fn a_worker_does_what_it_can_also_if_it_came_another_way() {
        let cpu = wish(Pool::Cpu, 0.0, None);
        let ray = wish(Pool::RayCpu, 0.0, None);
        let gpu = wish(Pool::Gpu, 1.0, Some("l4"));
        for (asks, class, suits) in [
            (cpu, None, true),
            (cpu, Some(RAY_CPU), true),
            (cpu, Some("l4"), true),
            (ray, None, false),
            (ray, Some(RAY_CPU), true),
            (ray, Some("l4"), true),
            (gpu, None, false),
            (gpu, Some(RAY_CPU), false),
            (gpu, Some("l4"), true),
            (gpu, Some("a10g"), true),
        ] {
            assert_eq!(asks.suits(class), suits, "{asks:?} on {class:?}");
        }
    }
}
