//! Runs in the machine of vm.sh, where vivid is the camera: what it shows is known, so what leaves a pipeline is compared
//! sample by sample. `/dev/video0` captures into single planes, `/dev/video1` into one or more. `/dev/video2` shows what is
//! played into `/dev/video3`, and `/dev/video4` what is played into `/dev/video5`, these two with one plane or more.
//! `/dev/video9` is v4l2loopback's.
//!
//! Emulation is slow, hence the generous deadlines; every scenario asks for covered frames, since hiding everything would
//! pass otherwise. Names given as arguments choose scenarios; after a minus they leave them out.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

mod bars;
mod capi;
mod faults;
mod output;
mod played;
mod real;
mod rig;

use std::panic::catch_unwind;
use std::time::Instant;

type Scenario = (&'static str, fn());

const SCENARIOS: &[Scenario] = &[
    ("devices_are_listed", bars::devices_are_listed),
    ("impossible_wishes_are_refused", bars::impossible_wishes_are_refused),
    ("every_format_single_planar", bars::every_format_single_planar),
    ("every_format_multi_planar", bars::every_format_multi_planar),
    ("every_format_through_dmabufs", bars::every_format_through_dmabufs),
    ("an_old_stride_is_not_kept", bars::an_old_stride_is_not_kept),
    ("colours_are_as_the_driver_says", bars::colours_are_as_the_driver_says),
    ("played_frames_come_out_redacted", played::played_frames_come_out_redacted),
    ("played_frames_come_through_dmabufs", played::played_frames_come_through_dmabufs),
    ("the_first_picture_is_new", bars::the_first_picture_is_new),
    ("a_faster_camera_is_slowed_down", played::a_faster_camera_is_slowed_down),
    ("frames_arrive_single_planar", output::frames_arrive_single_planar),
    ("frames_arrive_multi_planar", output::frames_arrive_multi_planar),
    ("frames_arrive_through_v4l2loopback", output::frames_arrive_through_v4l2loopback),
    ("buffers_are_mapped_where_none_are_exported", output::buffers_are_mapped_where_none_are_exported),
    ("a_lost_output_is_opened_again", output::a_lost_output_is_opened_again),
    ("a_full_output_delays_nobody", output::a_full_output_delays_nobody),
    ("impossible_outputs_are_refused", output::impossible_outputs_are_refused),
    ("damaged_buffers_are_withheld", faults::damaged_buffers_are_withheld),
    ("left_out_buffers_are_counted", faults::left_out_buffers_are_counted),
    ("a_silent_camera_is_waited_for", faults::a_silent_camera_is_waited_for),
    ("a_stalled_camera_is_opened_again", faults::a_stalled_camera_is_opened_again),
    ("a_fatal_error_is_survived", faults::a_fatal_error_is_survived),
    ("an_unplugged_camera_is_found_again", faults::an_unplugged_camera_is_found_again),
    ("failing_requests_are_tried_again", faults::failing_requests_are_tried_again),
    ("impossible_times_are_replaced", faults::impossible_times_are_replaced),
    ("another_format_after_replugging_ends", faults::another_format_after_replugging_ends),
    ("a_program_in_c_survives", capi::a_program_in_c_survives_the_faults_of_live),
    ("a_program_in_c_ends", capi::a_program_in_c_ends_when_the_format_changes),
    ("a_program_in_c_pushes_dmabufs", capi::a_program_in_c_pushes_dmabufs),
    ("people_are_hidden_by_the_real_program", real::people_are_hidden_by_the_real_program),
    ("the_quickstart_runs", real::the_quickstart_runs),
];

fn main() {
    let (without, wanted): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|a| a.starts_with('-'));
    let (mut passed, mut failed) = (0, 0);
    log::set_logger(&rig::PRINTER).map(|()| log::set_max_level(log::LevelFilter::Info)).unwrap();
    for (name, scenario) in SCENARIOS {
        if without.iter().any(|w| name.contains(&w[1..]))
            || !wanted.is_empty() && !wanted.iter().any(|w| name.contains(w.as_str()))
        {
            continue;
        }
        let start = Instant::now();
        let good = catch_unwind(scenario).is_ok();
        println!(
            "{name} ... {} ({:.1} s)",
            if good { "ok" } else { "FAILED" },
            start.elapsed().as_secs_f64()
        );
        if good { passed += 1 } else { failed += 1 }
    }
    println!("{passed} passed, {failed} failed");
    std::process::exit(i32::from(failed > 0 || passed == 0));
}
