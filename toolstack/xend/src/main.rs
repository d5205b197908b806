//! `xend`: starts, stops and is the node daemon.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use rexen_xend::{daemon, manual};

/// The node daemon of domain 0: makes domains, watches over them, ends them, and serves `xm`.
///
/// Its configuration is /etc/xen/xend-config.sxp, or the file that XEND_CONFIG names.
#[derive(Parser)]
#[command(name = "xend", version, arg_required_else_help = true)]
struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Runs in the foreground on a simulated host, without root and without Xen.
    ///
    /// Guests boot at once and have a shell that knows poweroff, reboot and crash. Nothing is kept when it ends.
    #[arg(long)]
    simulate: bool,
    /// The Unix socket to serve, instead of the configured one.
    #[arg(long, value_name = "PATH")]
    socket: Option<String>,
}

#[derive(Subcommand, Clone)]
enum Verb {
    /// Starts xend unless it runs. Exit status: 0 it runs, 1 it cannot.
    Start,
    /// Starts xend with every step in /var/log/xend.trace.
    #[command(name = "trace_start")]
    TraceStart,
    /// Stops xend; domains go on running.
    Stop,
    /// Stops and starts xend; domains go on running.
    Restart,
    /// Exit status 0 if xend runs, 3 if not.
    Status,
    /// What `start` starts: xend itself, in the foreground.
    #[command(hide = true)]
    Serve {
        /// Logs every step to the trace file.
        #[arg(long)]
        trace: bool,
    },
    /// Prints a manual page, as it is installed.
    #[command(hide = true)]
    Manual {
        /// Which.
        #[arg(value_parser = manual::PAGES)]
        page: String,
    },
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print(); // Nobody is left to tell when this fails.
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    let done = match args.verb {
        _ if args.simulate => daemon::simulate(args.socket),
        Some(Verb::Start) => daemon::start(false),
        Some(Verb::TraceStart) => daemon::start(true),
        Some(Verb::Stop) => daemon::stop(),
        Some(Verb::Restart) => daemon::stop().and_then(|_| daemon::start(false)),
        Some(Verb::Status) => daemon::status(),
        Some(Verb::Serve { trace }) => daemon::serve(trace, args.socket),
        Some(Verb::Manual { page }) => {
            print!(
                "{}",
                manual::page(&page, &Args::command()).unwrap_or_default()
            );
            Ok(0)
        }
        None => Err("nothing to do: see xend --help".into()),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(text) => {
            eprintln!("xend: {text}");
            ExitCode::FAILURE
        }
    }
}
