"""One reader of the database for all who watch: events and logs, fanned out to many streams.

Workers are other processes, so news is looked for, `PERIOD` apart, and only for what somebody
watches: one query tells which of the watched jobs have grown, whatever the number of watchers, and
each piece of news is read and encoded once. A stream's id is `EVENT.OFFSET`: the newest event and
the end of the log that were sent, both of the database, so that a stream resumes after any cut, at
any server, without gap or repeat.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from sqlalchemy import Row
from starlette.concurrency import run_in_threadpool

from lanternfish.service.jobs import ENDED
from lanternfish.service.store import Store, find_job, pages
from lanternfish.service.store.events import events_after, last_event, log_from

PERIOD = 0.15  # seconds between looks
BEAT = 15.0  # seconds of silence after which a comment keeps proxies awake
BEHIND = 1_000  # pieces of news that a slow watcher may be behind before it reads by itself
PIECE = 128 * 1024  # bytes of log in one message
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Position:
    """What a watcher has seen: up to event `event`, and `offset` bytes of log."""

    event: int = 0
    offset: int = 0

    @classmethod
    def parse(cls, text: str | None) -> Position:
        """From a stream's id; the beginning where it is none."""
        event, _, offset = (text or "").partition(".")
        good = event.isascii() and event.isdigit() and len(event) < 19
        good = good and (not offset or (offset.isascii() and offset.isdigit() and len(offset) < 19))
        return cls(int(event), int(offset or 0)) if good else cls()

    def __str__(self) -> str:
        return f"{self.event}.{self.offset}"

    def covers(self, other: Position) -> bool:
        """Whether whoever has seen this has seen the other one too."""
        return self.event >= other.event and self.offset >= other.offset


@dataclass(frozen=True)
class News:
    """Encoded messages that lead a watcher from position `since` to `to`."""

    since: Position
    to: Position
    body: bytes
    ended: bool = False


@dataclass(eq=False)
class _Topic:
    """A watched job, or the jobs of a watched group; `at` is how far its watchers have been led."""

    kind: str
    key: str
    at: Position
    watchers: set[_Watcher] = field(default_factory=set)


@dataclass(eq=False)
class _Watcher:
    queue: deque[News] = field(default_factory=deque)
    ring: asyncio.Event = field(default_factory=asyncio.Event)
    lost: bool = False  # fell behind: reads from the database again

    def tell(self, news: News) -> None:
        if len(self.queue) >= BEHIND:
            self.queue.clear()
            self.lost = True
        if not self.lost:
            self.queue.append(news)
        self.ring.set()


class Hub:
    """Streams of news. Start and stop it with the server's event loop."""

    def __init__(self, store: Store, period: float = PERIOD):
        self.store, self.period = store, period
        self.topics: dict[tuple[str, str], _Topic] = {}
        self.wanted = asyncio.Event()
        self.closing = False
        self.task: asyncio.Task | None = None

    def start(self) -> None:
        self.task = asyncio.create_task(self._look_for_ever())

    def close(self) -> None:
        """End all streams; browsers come again by themselves."""
        self.closing = True
        for topic in list(self.topics.values()):
            for watcher in list(topic.watchers):
                watcher.ring.set()

    async def stop(self) -> None:
        """End all streams and the looking."""
        self.close()
        if self.task:
            self.task.cancel()

    @property
    def watching(self) -> int:
        """How many streams are open."""
        return sum(len(topic.watchers) for topic in self.topics.values())

    async def stream(self, kind: str, key: str, since: Position) -> AsyncIterator[bytes]:
        """Messages of one job (`kind` "job") or of a group's jobs ("group"), from a position."""
        topic = self.topics.get((kind, key)) or _Topic(kind, key, since)
        self.topics[kind, key] = topic
        watcher = _Watcher()
        topic.watchers.add(watcher)
        self.wanted.set()
        try:
            yield b"retry: 1000\n\n"
            position = since
            over = kind == "job" and await run_in_threadpool(self._over, key)
            async for news in self._caught_up(topic, position, whole=bool(over)):
                yield news.body
                position = news.to
                if news.ended:
                    return
            if over:  # and the watcher had seen its end before
                yield message("end", {"state": over}, position)
                return
            async for body in self._live(topic, watcher, position):
                yield body
        finally:
            topic.watchers.discard(watcher)
            if not topic.watchers:
                self.topics.pop((kind, key), None)

    def _over(self, job: str) -> str:
        """The state of a job that has ended."""
        row = find_job(self.store, job)
        return row.state if row is not None and row.state in ENDED else ""

    async def _caught_up(
        self,
        topic: _Topic,
        position: Position,
        until: Position | None = None,
        *,
        whole: bool = False,
    ) -> AsyncIterator[News]:
        """What happened before now (`until`: and no later), read for this watcher alone.

        It ends where the topic is (`whole`: where there is no more), and what comes from there is
        read once for all: to wait for a moment without news would be to read each line of a busy
        job for each watcher.
        """
        while True:
            news = await run_in_threadpool(self._read, topic.kind, topic.key, position, until)
            if news is None:
                return
            position = news.to
            if until is None and len(topic.watchers) == 1:  # nobody else would miss what is skipped
                topic.at = position
            yield news
            if (
                not whole
                and until is None
                and position.covers(topic.at)
                and len(topic.watchers) > 1
            ):
                return

    async def _live(
        self, topic: _Topic, watcher: _Watcher, position: Position
    ) -> AsyncIterator[bytes]:
        while not self.closing:
            if watcher.lost:
                watcher.lost = False
                async for news in self._caught_up(topic, position):
                    yield news.body
                    position = news.to
                    if news.ended:
                        return
            while watcher.queue:
                news = watcher.queue.popleft()
                if news.since != position:
                    if position.covers(news.to):
                        continue  # already seen while catching up
                    # It overlaps what was read: only its rest is, which leads to where all are.
                    async for rest in self._caught_up(topic, position, news.to):
                        yield rest.body
                        position = rest.to
                        if rest.ended:
                            return
                    continue
                yield news.body
                position = news.to
                if news.ended:
                    return
            if watcher.lost or watcher.queue:
                continue
            watcher.ring.clear()
            try:
                await asyncio.wait_for(watcher.ring.wait(), BEAT)
            except TimeoutError:
                yield b": still here\n\n"

    async def _look_for_ever(self) -> None:
        while True:
            if not self.topics:
                self.wanted.clear()
                await self.wanted.wait()
            try:
                await self._look()
            except asyncio.CancelledError:
                raise
            except Exception:  # the database is away: watchers wait until it is back
                _log.exception("looking for news failed")
                await asyncio.sleep(1.0)
            await asyncio.sleep(self.period)

    async def _look(self) -> None:
        topics = list(self.topics.values())
        found = await run_in_threadpool(self._news, topics)
        for topic, news in found:
            if news.since != topic.at:
                continue  # a newcomer has led the topic on meanwhile; the next look has the rest
            topic.at = news.to
            for watcher in topic.watchers:
                watcher.tell(news)

    def _news(self, topics: list[_Topic]) -> list[tuple[_Topic, News]]:
        jobs = {topic.key: topic.at for topic in topics if topic.kind == "job"}
        groups = {topic.key: topic.at for topic in topics if topic.kind == "group"}
        grown = pages.grown(self.store, list(jobs), list(groups))
        found = []
        for topic in topics:
            event, offset = grown.get((topic.kind, topic.key), (0, 0))
            if topic.at.covers(Position(event, offset)):
                continue
            news = self._read(topic.kind, topic.key, topic.at)
            if news is not None:
                found.append((topic, news))
        return found

    def _read(
        self, kind: str, key: str, since: Position, until: Position | None = None
    ) -> News | None:
        read = job_news if kind == "job" else group_news
        return read(self.store, key, since, until)


def job_news(store: Store, job: str, since: Position, until: Position | None = None) -> News | None:
    """Events and log of a job after a position, in one body; None where there is nothing new.

    The log comes first: what a job wrote before it ended is seen before its end.
    """
    rows = _until(events_after(store, since.event, job=job, limit=500), until)
    data, _ = log_from(store, job, since.offset, PIECE)
    data = data[: PIECE if until is None else max(0, min(PIECE, until.offset - since.offset))]
    ended = bool(rows) and rows[-1].kind == "state" and rows[-1].data.get("state") in ENDED
    text, used = decoded(data, whole=ended and len(data) < PIECE)
    parts, position = [], since
    if used:
        position = Position(position.event, since.offset + used)
        parts.append(message("log", {"offset": since.offset, "text": text}, position))
    if ended and len(data) == PIECE:
        ended, rows = False, []  # the rest of the log comes before the end
    for row in rows:
        position = Position(row.id, position.offset)
        told = {"data": row.data, "time": row.time}
        parts.append(message(row.kind, told, position))
    if ended:
        parts.append(message("end", {"state": rows[-1].data["state"]}, position))
    if position == since:
        return None
    return News(since, position, b"".join(parts), ended)


def _until(rows: list[Row], until: Position | None) -> list[Row]:
    """Those of an ordered list of events that a position includes."""
    return rows if until is None else [row for row in rows if row.id <= until.event]


def group_news(
    store: Store, group: str, since: Position, until: Position | None = None
) -> News | None:
    """That jobs or data of a group changed; what changed is on the pages themselves."""
    newest = last_event(store, group=group)
    if until is not None:
        newest = min(newest, until.event)
    if newest <= since.event:
        return None
    kinds = ("state", "dataset")
    rows = _until(events_after(store, since.event, group=group, kinds=kinds, limit=500), until)
    to = Position(rows[-1].id if len(rows) == 500 else max(newest, *(r.id for r in rows), 0))
    told = {"jobs": sorted({row.job_id for row in rows if row.job_id})}
    return News(since, to, message("change", told, to) if rows else b"")


def message(name: str, data: dict, position: Position) -> bytes:
    """One server-sent event; JSON has no line breaks."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"event: {name}\nid: {position}\ndata: {text}\n\n".encode()


def decoded(data: bytes, whole: bool) -> tuple[str, int]:
    """Text of log bytes and how many were used: a character cut in two waits for its rest."""
    end = len(data)
    if not whole:
        for back in range(1, min(4, end) + 1):
            byte = data[-back]
            if byte & 0xC0 == 0x80:
                continue
            needs = 2 if byte >> 5 == 6 else 3 if byte >> 4 == 14 else 4 if byte >> 3 == 30 else 1
            if needs > back:
                end -= back
            break
    return data[:end].decode("utf-8", "replace"), end
