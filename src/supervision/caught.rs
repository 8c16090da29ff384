//! Catches panics that the caller reports.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};

thread_local! {
    /// Whether code on this thread catches panics and reports them.
    static IS_REPORTED: Cell<bool> = const { Cell::new(false) };
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// For a program's panic hook: whether a supervisor catches this panic and reports it, as an
/// [`Exit`](super::Exit) or a [`Fact::Crashed`](crate::observe::Fact::Crashed), with its place.
///
/// ```
/// let others = std::panic::take_hook();
/// std::panic::set_hook(Box::new(move |panic| {
///     if !stagecoach::supervision::is_reported(panic) {
///         others(panic);
///     }
/// }));
/// ```
#[must_use]
pub fn is_reported(panic: &PanicHookInfo<'_>) -> bool {
    // A thread that is ending has no thread-local storage any more.
    let is_reported = IS_REPORTED.try_with(Cell::get).unwrap_or(false);
    if is_reported {
        let place = panic.location().map(ToString::to_string);
        let _ = PLACE.try_with(|noted| noted.replace(place));
    }
    is_reported
}

/// Runs `step`, and returns a panic as its message, which the caller must report.
pub(crate) fn caught<T>(step: impl FnOnce() -> T) -> Result<T, String> {
    run(true, step).map_err(|payload| {
        let text = panic_text(&*payload);
        match PLACE.take() {
            Some(place) => format!("{text} ({place})"),
            None => text.to_owned(),
        }
    })
}

/// Runs `step`, and stops a panic in it. Only the program's panic hook reports the panic.
pub(crate) fn contained(step: impl FnOnce()) {
    let _ = run(false, step);
}

fn run<T>(is_reported: bool, step: impl FnOnce() -> T) -> Result<T, Box<dyn Any + Send>> {
    let outside = IS_REPORTED.replace(is_reported);
    let done = catch_unwind(AssertUnwindSafe(step));
    IS_REPORTED.set(outside);
    done
}

fn panic_text(payload: &(dyn Any + Send)) -> &str {
    let fixed = payload.downcast_ref::<&'static str>().copied();
    fixed.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without a text")
}
