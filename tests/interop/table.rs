//! The table of cells.

use std::fmt::Write;

use crate::cells::{Cell, Direction, Mode, Subject};
use crate::run::Result;

/// One line for each cell, then the failures again, then the sums.
pub(crate) fn draw(cells: &[Cell], results: &[Result]) -> String {
    let mut table = String::new();
    line(&mut table, ["client", "way", "mode", "blksize", "window", "also", "what", "ms", "outcome"]);
    for result in results {
        row(&mut table, cells, result);
    }
    let failed: Vec<_> = results.iter().filter(|result| result.wrong.is_some()).collect();
    if !failed.is_empty() {
        table.push_str("\nFailed:\n");
        for result in &failed {
            row(&mut table, cells, result);
        }
    }
    let _ =
        writeln!(table, "\n{} cells as they should be, {} not", results.len() - failed.len(), failed.len());
    table
}

fn row(table: &mut String, cells: &[Cell], result: &Result) {
    let outcome = match &result.wrong {
        Some(wrong) => format!("FAILED {}", wrong.replace('\n', " | ")),
        None => "ok".to_owned(),
    };
    let Some(cell) = result.cell.map(|number| &cells[number]) else {
        line(table, ["-", "-", "-", "-", "-", "-", "after all cells", "-", &outcome]);
        return;
    };
    let number = |value: Option<u16>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
    let quirks: String = cell.quirks.iter().map(|quirk| format!(" (client's own: {quirk:?})")).collect();
    line(
        table,
        [
            cell.client.name(),
            if cell.direction == Direction::Get { "get" } else { "put" },
            if cell.ask.mode == Mode::Octet { "octet" } else { "netascii" },
            &number(cell.ask.blksize),
            &number(cell.ask.windowsize),
            cell.ask.extra.unwrap_or("-"),
            &match &cell.subject {
                Subject::Refused(refusal) => format!("{refusal:?}"),
                subject => subject.len().to_string(),
            },
            &result.took.as_millis().to_string(),
            &(outcome + &quirks),
        ],
    );
}

fn line(table: &mut String, columns: [&str; 9]) {
    let [client, way, mode, blksize, window, also, what, ms, outcome] = columns;
    let _ = writeln!(
        table,
        "{client:<8} {way:<3} {mode:<8} {blksize:>7} {window:>6} {also:<17} {what:>15} {ms:>6} {outcome}"
    );
}
