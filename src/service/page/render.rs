//! The page as HTML. All text that is not the program's own goes through [`Html::text`] or [`Html::url`].

use axum::http::StatusCode;

use super::look::Look;
use crate::catalogue::story::Story;
use crate::catalogue::views::NightReport;
use crate::clock;
use crate::service::concerns::{Level, age_text, count, counted};
use crate::service::error::ApiError;
use crate::service::html::Html;

/// One cell of a table.
enum Cell {
    /// Prose: may break anywhere.
    Text(String),
    /// Short: kept on one line.
    Tight(String),
    /// To the right.
    Number(String),
    /// A number that should be zero.
    Refused(i64),
    /// Short, and links to why it is as it is.
    Why { target: String, shown: String },
    /// Coloured word.
    Mark(Level, String),
}

/// The status page.
pub(super) fn index(look: &Look) -> Html {
    let mut page = Html::new();
    banner(&mut page, look);
    night(&mut page, look);
    now(&mut page, look);
    stopped(&mut page, look);
    quarantine(&mut page, look);
    products(&mut page, look);
    deliveries(&mut page, look);
    page
}

/// A page that says why there is nothing else on it.
pub(super) fn failure(error: &ApiError) -> Html {
    let mut page = Html::new();
    let heading = match error.status() {
        StatusCode::NOT_FOUND => "Not found",
        StatusCode::BAD_REQUEST => "Not understood",
        _ => "No answer",
    };
    page.raw("<section id=\"banner\" class=\"banner bad\"><h1>").raw(heading).raw("</h1><p>");
    page.text(error.message()).raw("</p><p>").text(error.hint()).raw("</p></section>\n");
    page
}

/// The story of one thing: the answer, what it may mean when it is not one thing, and the whole text.
pub(super) fn story(story: &Story) -> Html {
    let mut page = Html::new();
    page.raw("<section id=\"story\"><h1>").text(&story.name).raw("</h1><p>").text(&story.headline).raw("</p>");
    if story.matches.is_empty() {
        // Its first two lines are the name and the answer, which stand above.
        let text = story.to_string();
        page.raw("<pre>").text(text.lines().skip(2).collect::<Vec<&str>>().join("\n").trim()).raw("</pre>");
    } else {
        let rows = story.matches.iter().map(|found| {
            vec![
                Cell::Why { target: found.target.clone(), shown: found.name.clone() },
                Cell::Tight(found.target.clone()),
                Cell::Text(found.detail.clone()),
            ]
        });
        table(&mut page, &["Name", "Is", "Detail"], rows.collect(), "");
    }
    page.raw("<p><a href=\"/plain\">Back to the status</a></p></section>\n");
    page
}

fn class(level: Level) -> &'static str {
    match level {
        Level::Good => "good",
        Level::Person => "warn",
        Level::Behind => "bad",
    }
}

fn banner(page: &mut Html, look: &Look) {
    let concerns = look.concerns();
    let worst = concerns.iter().map(|concern| concern.level).max().unwrap_or(Level::Good);
    let tasks = concerns.iter().filter(|concern| concern.level == Level::Person).count() as i64;
    let headline = match (worst, tasks) {
        (Level::Good, _) => "Keeping up. Nothing needs a person.".to_string(),
        (Level::Person, 1) => "Keeping up. One thing needs a person.".to_string(),
        (Level::Person, n) => format!("Keeping up. {n} things need a person."),
        (Level::Behind, _) => "Not keeping up.".to_string(),
    };
    page.raw("<section id=\"banner\" class=\"banner ")
        .raw(class(worst))
        .raw("\" role=\"status\" aria-live=\"polite\"><h1>");
    page.text(headline).raw("</h1>");
    if !concerns.is_empty() {
        page.raw("<ul>");
        for concern in &concerns {
            page.raw("<li>");
            if concern.section.is_empty() {
                page.text(&concern.text);
            } else {
                page.raw("<a href=\"#").raw(concern.section).raw("\">").text(&concern.text).raw("</a>");
            }
            page.raw("</li>");
        }
        page.raw("</ul>");
    }
    page.raw("<p class=\"soft\">As of ").text(time(look.status.at_us)).raw(" UTC. Version ").text(&look.info.version);
    let up = (look.status.at_us - look.info.started_us) as f64 / 1e6;
    page.raw(", running for ").text(age_text(up)).raw(".</p></section>\n");
}

fn night(page: &mut Html, look: &Look) {
    let report = &look.report;
    let tonight = report.night == look.status.night;
    let heading = if tonight { "Tonight" } else { "Last night with files" };
    page.raw("<section id=\"night\" aria-label=\"Night\"><h2>").raw(heading).raw(" <small>");
    page.text(&report.night).raw("</small></h2>\n<dl class=\"numbers\">");
    let of = |names: &[&str]| names.iter().map(|name| count(&report.outcomes, name)).sum::<i64>();
    let reduced = of(&["reduced", "partial", "flagged"]);
    number(page, "Files", report.files, last_frame(look));
    number(page, "Reduced", reduced, parts(report, &["partial", "flagged"]));
    number(page, "Still to come", of(&["pending", "waiting"]), String::new());
    number(
        page,
        "Not reduced",
        of(&["unreduced", "failed", "quarantined"]),
        parts(report, &["unreduced", "failed", "quarantined"]),
    );
    number(page, "Registered only", of(&["registered", "ignored"]), parts(report, &["ignored"]));
    number(page, "Delivered", report.delivered, latency(look));
    page.raw("</dl></section>\n");
}

fn number(page: &mut Html, name: &'static str, value: i64, note: String) {
    page.raw("<div><dt>").raw(name).raw("</dt><dd>").text(value);
    if !note.is_empty() {
        page.raw("<small>").text(note).raw("</small>");
    }
    page.raw("</dd></div>");
}

/// `2 partial, 1 flagged`; empty when all are zero.
fn parts(report: &NightReport, names: &[&str]) -> String {
    let parts: Vec<String> = names
        .iter()
        .map(|name| (count(&report.outcomes, name), name))
        .filter(|(n, _)| *n > 0)
        .map(|(n, name)| format!("{n} {name}"))
        .collect();
    parts.join(", ")
}

fn last_frame(look: &Look) -> String {
    match &look.status.last_frame {
        Some(frame) => {
            format!("last {} ago", age_text((look.status.at_us - frame.taken_us) as f64 / 1e6))
        }
        None => "none yet".to_string(),
    }
}

fn latency(look: &Look) -> String {
    let spread = look.status.latency.as_ref().and_then(|latency| latency.exposure_to_archive.as_ref());
    match spread {
        Some(spread) => {
            format!("{} after exposure, at worst {}", age_text(spread.median_s), age_text(spread.worst_s))
        }
        None => String::new(),
    }
}

fn now(page: &mut Html, look: &Look) {
    let ready = count(&look.status.jobs, "ready");
    let running = look.status.running.iter().map(|job| {
        vec![
            Cell::Mark(Level::Good, "running".to_string()),
            Cell::Why { target: format!("job:{}", job.id), shown: job.set_name.clone() },
            Cell::Tight(job.recipe.clone()),
            Cell::Text("".to_string()),
            Cell::Number(age_text(job.elapsed_s)),
        ]
    });
    let waiting = look.waiting_jobs.iter().map(|job| {
        vec![
            Cell::Mark(Level::Person, "waiting".to_string()),
            Cell::Why { target: format!("job:{}", job.id), shown: job.set_name.clone() },
            Cell::Tight(job.recipe.clone()),
            Cell::Text(with_deadline(&job.waits_for, job.deadline_us)),
            Cell::Number(age_text((look.status.at_us - job.created_us) as f64 / 1e6)),
        ]
    });
    let open = look.open_sets.iter().map(|set| {
        let reason = if set.why.is_empty() { "for the rest of its template" } else { &set.why };
        vec![
            Cell::Mark(Level::Person, "open".to_string()),
            Cell::Why { target: format!("set:{}", set.id), shown: set.name.clone() },
            Cell::Tight(set.recipe.clone()),
            Cell::Text(format!("{} of {} exposures seen; {reason}", set.n_seen, set.n_planned)),
            Cell::Number(age_text((look.status.at_us - set.changed_us) as f64 / 1e6)),
        ]
    });
    let rows: Vec<Vec<Cell>> = running.chain(waiting).chain(open).collect();
    page.raw("<section id=\"now\"><h2>Running and waiting");
    if ready > 0 {
        page.raw(" <small>").text(counted(ready, "more set")).raw(" ready to run</small>");
    }
    page.raw("</h2>\n");
    table(page, &["State", "Set", "Recipe", "Waits for", "Since"], rows, "Nothing runs and nothing waits.");
    page.raw("</section>\n");
}

fn with_deadline(waits_for: &str, deadline_us: Option<i64>) -> String {
    match deadline_us {
        Some(deadline) => format!("{waits_for} (until {})", time(deadline)),
        None => waits_for.to_string(),
    }
}

fn stopped(page: &mut Html, look: &Look) {
    let rows = look.stopped_jobs.iter().map(|job| {
        let level = if job.state == "failed" { Level::Behind } else { Level::Person };
        vec![
            Cell::Mark(level, job.state.clone()),
            Cell::Why { target: format!("job:{}", job.id), shown: job.set_name.clone() },
            Cell::Tight(job.recipe.clone()),
            Cell::Text(job.error.clone()),
            Cell::Tight(format!("soxsd retry job:{}", job.id)),
        ]
    });
    page.raw("<section id=\"stopped\"><h2>Given up <small>a person decides</small></h2>\n");
    table(page, &["State", "Set", "Recipe", "Error", "Try again with"], rows.collect(), "No job was given up.");
    page.raw("</section>\n");
}

fn quarantine(page: &mut Html, look: &Look) {
    let total = count(&look.status.files, "quarantined");
    let rows = look.quarantined.iter().map(|file| {
        vec![
            Cell::Why { target: format!("frame:{}", file.id), shown: file.name.clone() },
            Cell::Text(file.reason.clone()),
            Cell::Tight(time(file.first_seen_us)),
        ]
    });
    page.raw("<section id=\"quarantine\"><h2>Quarantine <small>").text(counted(total, "file"));
    page.raw(", looked at again when they change</small></h2>\n");
    table(page, &["File", "Reason", "First seen"], rows.collect(), "No file is in quarantine.");
    page.raw("</section>\n");
}

fn products(page: &mut Html, look: &Look) {
    let rows = look.products.iter().map(|product| {
        let level = match product.verdict.as_str() {
            "pass" => Level::Good,
            "warn" => Level::Person,
            _ => Level::Behind,
        };
        let state = if product.state == "current" { String::new() } else { format!(", {}", product.state) };
        vec![
            Cell::Mark(level, format!("{}{state}", product.verdict)),
            Cell::Why { target: format!("product:{}", product.id), shown: product.name.clone() },
            Cell::Tight(product.catg.clone()),
            Cell::Number(product.n_combined.to_string()),
            Cell::Text(product.deliveries.clone()),
            Cell::Tight(time(product.created_us)),
        ]
    });
    page.raw("<section id=\"products\"><h2>Last products</h2>\n");
    let headings = ["QC", "Product", "Category", "Frames", "Deliveries", "Made"];
    table(page, &headings, rows.collect(), "No product has been made yet.");
    page.raw("</section>\n");
}

fn deliveries(page: &mut Html, look: &Look) {
    let rows = sinks(look).into_iter().map(|sink| {
        let of = |state: &str| count(&look.status.deliveries, &format!("{sink}/{state}"));
        let under_way: i64 = ["queued", "sending", "unknown", "buffered", "sent"].into_iter().map(of).sum();
        let age = look.undelivered.iter().find(|undelivered| undelivered.group == sink);
        let oldest = age.map_or("none waits".to_string(), |undelivered| age_text(undelivered.seconds));
        vec![
            Cell::Tight(sink.clone()),
            Cell::Number(of("confirmed").to_string()),
            Cell::Number(under_way.to_string()),
            Cell::Number(of("held").to_string()),
            Cell::Refused(of("parked")),
            Cell::Number(oldest),
        ]
    });
    page.raw("<section id=\"deliveries\"><h2>Deliveries</h2>\n");
    let headings = ["To", "Confirmed", "Under way", "Held", "Refused", "Oldest waiting"];
    table(page, &headings, rows.collect(), "Nothing has been queued for delivery yet.");
    page.raw("</section>\n");
}

/// Names of the sinks that have deliveries, each once, in order.
fn sinks(look: &Look) -> Vec<String> {
    let mut sinks: Vec<String> = look
        .status
        .deliveries
        .iter()
        .filter_map(|count| count.name.rsplit_once('/').map(|(sink, _)| sink.to_string()))
        .collect();
    sinks.sort();
    sinks.dedup();
    sinks
}

/// A table, or a sentence when it has no rows. Headings are repeated in each cell for narrow screens.
fn table(page: &mut Html, headings: &[&'static str], rows: Vec<Vec<Cell>>, empty: &'static str) {
    if rows.is_empty() {
        page.raw("<p class=\"soft\">").raw(empty).raw("</p>");
        return;
    }
    page.raw("<table><thead><tr>");
    let numeric =
        |column: usize| rows.iter().all(|row| matches!(row.get(column), Some(Cell::Number(_) | Cell::Refused(_))));
    for (column, heading) in headings.iter().enumerate() {
        page.raw(if numeric(column) { "<th scope=\"col\" class=\"number\">" } else { "<th scope=\"col\">" });
        page.raw(heading).raw("</th>");
    }
    page.raw("</tr></thead>\n<tbody>");
    for row in &rows {
        page.raw("<tr>");
        for (heading, cell) in headings.iter().zip(row) {
            page.raw("<td data-label=\"").raw(heading).raw("\"");
            write_cell(page, cell);
            page.raw("</td>");
        }
        page.raw("</tr>\n");
    }
    page.raw("</tbody></table>");
}

/// The rest of a cell after its label.
fn write_cell(page: &mut Html, cell: &Cell) {
    match cell {
        Cell::Text(text) => page.raw("><span>").text(text).raw("</span>"),
        Cell::Tight(text) => page.raw(" class=\"tight\"><span>").text(text).raw("</span>"),
        Cell::Number(text) => page.raw(" class=\"number\"><span>").text(text).raw("</span>"),
        Cell::Refused(0) => page.raw(" class=\"number\"><span>0</span>"),
        Cell::Refused(number) => page.raw(" class=\"number\"><span class=\"mark warn\">").text(number).raw("</span>"),
        Cell::Why { target, shown } => page
            .raw(" class=\"name\"><span><a href=\"/why?target=")
            .url(target)
            .raw("\">")
            .text(shown)
            .raw("</a></span>"),
        Cell::Mark(level, text) => {
            page.raw("><span class=\"mark ").raw(class(*level)).raw("\">").text(text).raw("</span>")
        }
    };
}

/// `2026-03-10 19:00:42`, UTC.
fn time(us: i64) -> String {
    let iso = clock::iso(us);
    iso.get(..19).unwrap_or(&iso).replacen('T', " ", 1)
}
