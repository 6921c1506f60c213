"""Recordings in NWB files: five of a public database, and files written here to be odd."""

import sys
from datetime import UTC, datetime

import numpy as np
import pytest

from lanternfish.models.hodgkin_huxley import STATISTICS, hodgkin_huxley
from lanternfish.models.recordings import PEAK_DENSITY, Recording, observe, read_nwb

DIGITS = 5.1e-5  # half of the last of the four published decimals, and float32's share

# spikes, rest, rest sd, mean, variance, skewness, kurtosis, as published; peak uA/cm2
PUBLISHED = {
    "518290966/57": ([12, -86.6186, 0.0582, -59.7432, 73.5669, 5.7112, 49.6576], 0.915),
    "509881736/39": ([25, -81.1308, 0.0870, -52.9775, 157.6068, 3.9325, 19.1559], 1.563),
    "534524026/29": ([25, -75.7323, 0.0884, -58.5761, 143.2199, 4.7270, 26.7926], 0.851),
    "532355382/33": ([22, -82.6109, 0.0623, -56.0025, 117.0278, 4.6565, 28.5219], 1.965),
    "526950199/37": ([22, -79.4535, 0.0435, -59.3550, 118.8908, 5.3234, 34.0700], 1.289),
}


@pytest.fixture
def allen(data):
    """Path of a published recording by its name."""

    def path(name):
        found = data / "allen" / f"{name.replace('/', '_sweep')}.nwb"
        if not found.exists():
            pytest.skip(f"no recording at {found}: set LANTERNFISH_DATA to the folder of data")
        return found

    return path


@pytest.mark.parametrize("name", PUBLISHED)
def test_statistics_of_a_cell_are_the_published_ones(allen, name):
    recording = read_nwb(allen(name))
    values, peak = PUBLISHED[name]
    np.testing.assert_allclose(observe(recording).array_for(STATISTICS), values, atol=DIGITS)
    assert recording.name == name
    assert recording.dt == pytest.approx(0.02)
    assert recording.time[-1] == pytest.approx(1449.98)
    assert (recording.t_on, recording.t_off) == pytest.approx((205.0, 1204.98))
    assert recording.stimulus().current.max() == pytest.approx(peak, abs=5e-4)
    assert recording.junction_potential == -14.0


@pytest.mark.parametrize("statistics", [7, 4, 1])
def test_a_cell_drives_the_model(allen, statistics):
    recording = read_nwb(allen("518290966/57"))
    model = hodgkin_huxley(recording, statistics=statistics)
    target = model.targets["recording"]
    assert list(target) == [c.name for c in STATISTICS[:statistics]]
    theta, seeds = model.prior.sample(16, seed=1).array, np.arange(16, dtype=np.uint64)
    assert np.all(np.isfinite(model.simulator.function(theta, seeds)))
    traces = model.traces(theta[:2], seeds[:2])
    assert traces.values.shape == (2, 1, len(recording.voltage))
    np.testing.assert_allclose(traces.values[:, 0, 0], recording.voltage[0], rtol=1e-6)


def test_models_of_two_cells_are_told_apart(allen):
    names = "518290966/57", "509881736/39"
    prints = {hodgkin_huxley(allen(name)).simulator.fingerprint for name in names}
    assert len(prints | {hodgkin_huxley().simulator.fingerprint}) == 3


def test_peak_densities_are_the_published_ones():
    for name, (_, peak) in PUBLISHED.items():
        assert PEAK_DENSITY[name] == pytest.approx(peak, abs=5e-4)


# Files written here

N, DT = 3000, 0.02  # samples, ms
CURRENT = np.zeros(N)
CURRENT[1000:2500] = 2e-4  # uA
VOLTAGE = -60 + 5 * (CURRENT > 0) + 0.01 * np.sin(np.arange(N))  # mV


@pytest.fixture
def write(tmp_path):
    """Write an NWB file of sweeps (response mV, stimulus uA, options) and return its path."""
    pytest.importorskip("pynwb", reason="needs PyNWB: pip install 'lanternfish[nwb]'")
    from pynwb import NWBHDF5IO, NWBFile
    from pynwb.icephys import CurrentClampSeries, CurrentClampStimulusSeries

    def file(sweeps, *, numbered=True, table=False, current=None, stimulus_rate=None, times=None):
        start = datetime(2020, 1, 1, tzinfo=UTC)
        nwb = NWBFile(session_description="a test", identifier="test", session_start_time=start)
        device = nwb.create_device(name="amplifier")
        electrode = nwb.create_icephys_electrode(name="e", description="pipette", device=device)
        rate = {"rate": 1e3 / DT} if times is None else {"timestamps": times}
        for sweep in sweeps:
            number = {"sweep_number": np.uint32(sweep)} if numbered else {}
            common = {"electrode": electrode, "gain": 1.0} | number
            response = CurrentClampSeries(
                name=f"response{sweep}", data=VOLTAGE + sweep, conversion=1e-3, **common, **rate
            )
            nwb.add_acquisition(response, use_sweep_table=False)
            other = {"rate": stimulus_rate} if stimulus_rate else rate
            given = CURRENT if current is None else current
            stimulus = CurrentClampStimulusSeries(
                name=f"stimulus{sweep}", data=given, conversion=1e-6, **common, **other
            )
            nwb.add_stimulus(stimulus, use_sweep_table=False)
            if table:
                nwb.add_intracellular_recording(
                    electrode=electrode, stimulus=stimulus, response=response
                )
        path = tmp_path / "file.nwb"
        with NWBHDF5IO(path, "w") as io:
            io.write(nwb)
        return path

    return file


@pytest.mark.parametrize("numbered", [True, False])
def test_a_single_sweep_is_read_in_house_units(write, numbered):
    recording = read_nwb(write([0], numbered=numbered), area=1e-4, junction_potential=-10.0)
    np.testing.assert_allclose(recording.voltage, VOLTAGE - 10, rtol=1e-12)
    np.testing.assert_allclose(recording.current, CURRENT, atol=1e-16)
    assert (recording.dt, recording.t_on, recording.t_off) == pytest.approx((DT, 20.0, 49.98))
    stimulus = recording.stimulus()
    assert stimulus.current.max() == pytest.approx(2.0)
    assert stimulus.v_0 == pytest.approx(VOLTAGE[0] - 10)


@pytest.mark.parametrize("options", [{}, {"numbered": False, "table": True}])
def test_one_of_several_sweeps_is_chosen(write, options):
    path = write([0, 1, 2], **options)
    assert read_nwb(path, sweep=2).voltage[0] == pytest.approx(VOLTAGE[0] + 2)
    with pytest.raises(ValueError, match="Expected sweep= to choose one of 0, 1, 2"):
        read_nwb(path)
    with pytest.raises(ValueError, match=r"one of 0, 1, 2 in .*; got 7"):
        read_nwb(path, sweep=7)


def test_even_time_stamps_are_a_rate(write):
    recording = read_nwb(write([0], times=np.arange(N) * DT / 1e3))
    assert recording.dt == pytest.approx(DT)


def test_a_test_pulse_is_not_the_stimulus(write):
    current = CURRENT.copy()
    current[100:200] = 1.5e-4
    assert read_nwb(write([0], current=current)).t_on == pytest.approx(20.0)


def test_a_window_may_be_given(write):
    recording = read_nwb(write([0], current=np.zeros(N)), window=(10.0, 30.0))
    assert (recording.t_on, recording.t_off) == (10.0, 30.0)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"sweeps": []}, "Expected a current-clamp response with its stimulus in .*; got none"),
        ({"sweeps": [0], "current": np.zeros(N)}, "leaves its first value; got a constant one"),
        ({"sweeps": [0], "current": CURRENT[:-1]}, "with common samples; got 3000 at 0.02 ms"),
        ({"sweeps": [0], "stimulus_rate": 4e4}, "and 3000 at 0.025 ms"),
        ({"sweeps": [0], "times": np.arange(N) ** 2.0}, "time stamps that are not even"),
    ],
)
def test_files_that_do_not_fit_give_one_sentence(write, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        read_nwb(write(**options))


def test_an_area_is_needed_to_drive_a_model(write):
    recording = read_nwb(write([0]))
    with pytest.raises(ValueError, match=r"Expected a membrane area for file\.nwb/0; got none"):
        hodgkin_huxley(recording)
    assert observe(recording)["spikes"] == 0


def test_a_file_that_is_not_nwb(tmp_path):
    pytest.importorskip("pynwb", reason="needs PyNWB: pip install 'lanternfish[nwb]'")
    path = tmp_path / "notes.nwb"
    with pytest.raises(FileNotFoundError, match=r"Expected an NWB file at .*notes.nwb; got none"):
        read_nwb(path)
    path.write_text("no data")
    with pytest.raises(ValueError, match=r"Expected an NWB 2 file at .*notes.nwb; got another"):
        read_nwb(path)


def test_pynwb_is_asked_for_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynwb", None)
    with pytest.raises(ImportError, match=r"pip install 'lanternfish\[nwb\]'"):
        read_nwb("file.nwb")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"current": np.zeros(5)}, r"of one shape \(samples,\); got \(3000,\) and \(5,\)"),
        ({"voltage": np.full(N, np.nan)}, "3000 samples that are not"),
        ({"area": -1.0}, "Expected a membrane area in cm2"),
        ({"area": 100.0}, "got 100.0"),
    ],
)
def test_recordings_that_make_no_sense_give_one_sentence(changes, sentence):
    given = {"voltage": VOLTAGE, "current": CURRENT, "dt": DT, "t_on": 20.0, "t_off": 49.98}
    with pytest.raises(ValueError, match=sentence):
        Recording(**given | changes)
