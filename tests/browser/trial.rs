//! A trial in a browser, begun anew if the browser itself ended.

use std::future::Future;
use std::time::Instant;

use libtest_mimic::Trial;

/// How often a trial is begun anew because the browser itself ended under it.
const MOST_CRASHES: usize = 3;

/// A trial by its name.
pub fn trial<F: Future<Output = ()> + Send + 'static>(name: &str, body: fn() -> F) -> Trial {
    let title = name.to_owned();
    Trial::test(name, move || {
        let started = Instant::now();
        for crashes in 1.. {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            let Err(panic) = std::panic::catch_unwind(|| runtime.block_on(body())) else { break };
            let has_crashed = message(&*panic).contains("invalid session id");
            if !has_crashed || crashes > MOST_CRASHES {
                std::panic::resume_unwind(panic);
            }
            println!(
                "Chromium ended by itself (seen where a service worker is replaced); once more"
            );
        }
        println!("{title} took {:.0} s", started.elapsed().as_secs_f64());
        Ok(())
    })
}

/// What a panic says.
fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default()
}
