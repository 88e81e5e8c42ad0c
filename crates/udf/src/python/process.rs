//! A host's process: it dies with its worker, and what it started dies with it.

use std::io;
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// A process that leads a group of its own; dropping it kills the group.
pub(super) struct Process {
    pub(super) child: Child,
    id: u32,
    /// Until it is killed: afterwards the system may give the number to somebody else.
    group: Option<Pid>,
}

impl Process {
    /// Starts a process.
    pub(super) async fn spawn(mut command: Command) -> io::Result<Self> {
        command
            .kill_on_drop(true)
            // Ctrl-C is the worker's to handle.
            .process_group(0);
        let child = from_lasting_thread(command).await?;
        let id = child.id().unwrap_or_default();
        let group = i32::try_from(id).ok().filter(|id| *id > 0);
        Ok(Self {
            child,
            id,
            group: group.map(Pid::from_raw),
        })
    }

    pub(super) const fn id(&self) -> u32 {
        self.id
    }

    /// Kills it with all that it started, as far as that did not make a group of its own.
    pub(super) fn kill(&mut self) {
        if let Some(group) = self.group.take() {
            // Nobody may be left, which is as good.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

struct Order {
    command: Command,
    runtime: Handle,
    reply: oneshot::Sender<io::Result<Child>>,
}

/// Starts a process from a thread that lives as long as this process.
///
/// Linux ends a host with the thread that started it, and those of the runtime come and go.
async fn from_lasting_thread(command: Command) -> io::Result<Child> {
    static ORDERS: OnceLock<Sender<Order>> = OnceLock::new();
    let orders = ORDERS.get_or_init(|| {
        let (orders, waiting) = channel::<Order>();
        // Without a thread the other end is gone, and that is the error of each order.
        let _ = std::thread::Builder::new()
            .name("host-starter".to_owned())
            .spawn(move || {
                for mut order in waiting {
                    let _runtime = order.runtime.enter();
                    // Who no longer waits for it drops it, and with it the process.
                    let _ = order.reply.send(order.command.spawn());
                }
            });
        orders
    });
    let (reply, child) = oneshot::channel();
    let gone = || io::Error::other("the thread that starts hosts is gone");
    let order = Order {
        command,
        runtime: Handle::current(),
        reply,
    };
    orders.send(order).map_err(|_| gone())?;
    child.await.map_err(|_| gone())?
}
