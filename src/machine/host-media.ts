// Media that the host holds: answers the module's four imports. A synchronous medium moves bytes straight
// between itself and the RAM that the controller's scatter list names; an asynchronous one goes through memory
// of the host's: reads are fetched at submission and copied when they are due, writes are gathered when they
// are due and end when the medium has them. Either way the guest sees the same bytes at the same virtual time.
//
// A snapshot holds the open requests as they are here, with what was gathered for writes and what reads have
// fetched; what a medium was doing at that moment is begun again after a restore (assembly/media/media.ts).

import {
  MEDIA_DISCARD,
  MEDIA_ERROR,
  MEDIA_FLUSH,
  MEDIA_NO_SPACE,
  MEDIA_OK,
  MEDIA_PENDING,
  MEDIA_READ,
  MEDIA_READ_ONLY,
  MEDIA_WRITE,
  MEDIA_ZERO,
} from '../../assembly/media/codes.ts';
import { type ContentState, type Medium, MediumError, type SyncMedium } from '../media/index.ts';
import type { DiskOptions } from './disk.ts';
import { SnapshotError } from './errors.ts';
import type { Run, RunList } from './external.ts';
import {
  type Change,
  counted,
  type Fetch,
  MediaLane,
  type MediumFailure,
  transferredOf,
} from './media-lane.ts';
import type { MediaImports } from './module.ts';

/** What the module is told; both take the request's handle. */
export interface MediaAnswers {
  ready(request: number): void;
  fail(request: number, status: number, failedAt: number): void;
}

interface Held {
  readonly disk: number;
  readonly medium: Medium;
  readonly lane: MediaLane | null;
  readonly sectorBytes: number;
  /** What becomes of requests that it fails; those that do not go to the guest are kept, to be tried again. */
  readonly policies: Policies;
}

type Policies = Pick<DiskOptions, 'readErrors' | 'writeErrors'>;

/** Bytes that a synchronous medium could not read, and where in the module's memory they belong. */
interface Owed {
  readonly offset: number;
  readonly bytes: number;
  readonly runs: readonly Run[];
}

/** How a medium failed whose failure the hardware hears of later. */
interface Refusal {
  readonly message: string;
  readonly status: number;
}

/** What a request that the module began is doing. */
interface Open {
  readonly held: Held;
  readonly operation: number;
  /** First byte on the medium, and bytes. */
  readonly offset: number;
  readonly bytes: number;
  /** Asynchronous media: the read, or what was gathered for the write. */
  fetch: Fetch | null;
  readonly parts: Change[];
  /** Reads that failed and are tried again when the request ends. */
  readonly owed: Owed[];
  /** What the medium said that is not to be asked again before the request ends; null: nothing. */
  refusal: Refusal | null;
  /** Which question to a medium it was; 0: none yet. */
  asked: number;
  /** The read has been answered. */
  fetched: boolean;
  /** The medium is at work on what ends the request. */
  storing: boolean;
  /** False once the module has no more use for an answer. */
  live: boolean;
}

/** An open request in a snapshot. */
export interface SavedRequest {
  readonly request: number;
  readonly disk: number;
  readonly operation: number;
  readonly offset: number;
  readonly bytes: number;
  readonly live: boolean;
  /** What the medium was asked for and had not answered. */
  readonly asked: 'read' | 'store' | null;
  /** What a read has got. */
  readonly content: Uint8Array | null;
  readonly parts: readonly Change[];
  readonly owed: readonly Owed[];
  readonly refusal: Refusal | null;
}

/** The host's half of media in a snapshot. */
export interface SavedMedia {
  readonly requests: readonly SavedRequest[];
  /** What media hold in the host's memory, each with the first disk that is over it. */
  readonly contents: readonly { readonly disk: number; readonly state: ContentState }[];
  readonly failures: readonly string[];
}

const TWO_32 = 2 ** 32;
const FAILURES_MAX = 256;
/** What one read of an asynchronous medium may take of the host's memory: 65,536 sectors of 4 KiB. */
const FETCH_MAX = 2 ** 28;

export class HostMedia {
  readonly imports: MediaImports;
  readonly #runs: RunList;
  readonly #answers: MediaAnswers;
  readonly #held = new Map<number, Held>();
  readonly #lanes = new Map<Medium, MediaLane>();
  readonly #open = new Map<number, Open>();
  /** Requests that the module gave up and whose data the medium is still storing. */
  readonly #given = new Map<Open, number>();
  readonly #works = new Set<Promise<void>>();
  readonly #failures: string[] = [];
  /** Whether some medium has answered since stopFor(). */
  #answered = false;
  /** Counts restores: answers to what was asked before the last one are void. */
  #era = 0;
  /** A medium moves data for the module at this moment. */
  #moving = false;
  /** Questions to asynchronous media so far. */
  #asked = 0;
  #waiting: { promise: Promise<void>; resolve: () => void } | null = null;

  constructor(runs: RunList, answers: MediaAnswers) {
    this.#runs = runs;
    this.#answers = answers;
    this.imports = {
      mediaStart: (disk, request, operation, low, high, sectors) =>
        this.#start(disk, request, operation, (high >>> 0) * TWO_32 + (low >>> 0), sectors >>> 0),
      mediaTransfer: (_disk, request, low, high, bytes, runs, toMemory) =>
        this.#transfer(request, (high >>> 0) * TWO_32 + (low >>> 0), bytes >>> 0, runs, toMemory !== 0),
      mediaFinish: (_disk, request) => this.#finish(request),
      mediaDrop: (_disk, request) => this.#drop(request),
    };
  }

  add(disk: number, medium: Medium, sectorBytes: number, policies: Policies = {}): void {
    let lane: MediaLane | null = null;
    if (!medium.sync) {
      // Two disks over one medium share its order.
      lane = this.#lanes.get(medium) ?? new MediaLane(medium);
      this.#lanes.set(medium, lane);
    }
    this.#held.set(disk, { disk, medium, lane, sectorBytes, policies });
  }

  /** The disk has no medium of the host's any more; requests that are under way end with the one they had. */
  remove(disk: number): void {
    this.#held.delete(disk);
  }

  /** What media said when they failed, in order, the last 256. */
  get failures(): readonly string[] {
    return this.#failures;
  }

  /** The machine has stopped for a request: wait() is for an answer from now on. */
  stopFor(): void {
    this.#answered = false;
  }

  /** Resolves when some medium has answered since stopFor(), or none is asked. */
  wait(): Promise<void> {
    if (this.#answered || this.#works.size === 0) return Promise.resolve();
    if (this.#waiting === null) {
      let resolve = (): void => {};
      const promise = new Promise<void>((done) => {
        resolve = done;
      });
      this.#waiting = { promise, resolve };
    }
    return this.#waiting.promise;
  }

  /** Resolves when no medium is asked for anything any more. */
  async idle(): Promise<void> {
    while (this.#works.size > 0) await Promise.all(this.#works);
  }

  /** What a snapshot holds. Throws SnapshotError while a medium is moving data for the module. */
  save(): SavedMedia {
    this.checkIdle();
    const opens = [...this.#open];
    for (const [open, request] of this.#given) opens.push([request, open]);
    // Media are asked again in the same order.
    opens.sort(([, a], [, b]) => a.asked - b.asked);
    const requests = opens.map(([request, open]) => saved(request, open));
    const seen = new Set<Medium>();
    const contents: { disk: number; state: ContentState }[] = [];
    for (const { disk, medium } of this.#held.values()) {
      if (seen.has(medium) || medium.content === undefined) continue;
      seen.add(medium);
      contents.push({ disk, state: medium.content.capture() });
    }
    return { requests, contents, failures: this.#failures.slice() };
  }

  /** Throws SnapshotError while a medium is moving data: the hardware is in the middle of something. */
  checkIdle(): void {
    if (this.#moving)
      throw new SnapshotError('a medium is moving data: no snapshot from within its functions');
  }

  /** The contents as the media here take them. Throws SnapshotError where one does not fit. */
  accept(media: SavedMedia): SavedMedia {
    const contents = media.contents.map(({ disk, state }) => {
      const held = this.#held.get(disk);
      if (held?.medium.content === undefined) {
        throw new SnapshotError(`the snapshot has the content of disk ${disk}; its medium here keeps none`);
      }
      try {
        return { disk, state: held.medium.content.accept(state) };
      } catch (error) {
        if (!(error instanceof MediumError)) throw error;
        throw new SnapshotError(`disk ${disk}: ${error.message}`);
      }
    });
    return { ...media, contents };
  }

  /** Puts back what accept() has returned; answers to what was asked until now are void. */
  restore(media: SavedMedia): void {
    this.#era++;
    this.#open.clear();
    this.#given.clear();
    for (const lane of this.#lanes.values()) lane.abandon();
    for (const { disk, state } of media.contents) this.#held.get(disk)?.medium.content?.revert(state);
    this.#failures.splice(0, this.#failures.length, ...media.failures);
    for (const request of media.requests) this.#reopen(request);
    this.#wake();
  }

  #reopen(request: SavedRequest): void {
    const held = this.#held.get(request.disk);
    if (held === undefined) return;
    const { offset, bytes, content, asked } = request;
    const open: Open = {
      held,
      operation: request.operation,
      offset,
      bytes,
      fetch: null,
      parts: [...request.parts],
      owed: [...request.owed],
      refusal: request.refusal,
      asked: 0,
      fetched: content !== null,
      storing: asked === 'store',
      live: request.live,
    };
    if (open.live) this.#open.set(request.request, open);
    else this.#given.set(open, request.request);
    if (held.lane === null) return;
    if (content !== null) open.fetch = held.lane.fetched(offset, bytes, content);
    if (asked === 'read') {
      const { fetch, done } = held.lane.fetch(offset, bytes);
      open.fetch = fetch;
      this.#work(request.request, open, done);
    } else if (asked === 'store') {
      const done = this.#finishLater(open);
      if (done !== null) this.#work(request.request, open, done);
    }
  }

  #start(disk: number, request: number, operation: number, sector: number, sectors: number): number {
    const held = this.#held.get(disk);
    if (held === undefined) return 0;
    const { sectorBytes, lane } = held;
    const open: Open = {
      held,
      operation,
      offset: sector * sectorBytes,
      bytes: sectors * sectorBytes,
      fetch: null,
      parts: [],
      owed: [],
      refusal: null,
      asked: 0,
      fetched: false,
      storing: false,
      live: true,
    };
    this.#open.set(request, open);
    if (lane === null || operation !== MEDIA_READ) return 0;
    try {
      if (open.bytes > FETCH_MAX) throw tooLong(open);
      const { fetch, done } = lane.fetch(open.offset, open.bytes);
      open.fetch = fetch;
      this.#work(request, open, done);
      return 1;
    } catch (error) {
      // The guest chose the length: if the host has no memory for it, that is the guest's error.
      this.#fail(request, open, error, 0);
      return 0;
    }
  }

  /** Tells the module when `done` is; nobody is told of a request that was given up. */
  #work(request: number, open: Open, done: Promise<MediumFailure | null>): void {
    const era = this.#era;
    open.asked = ++this.#asked;
    const work: Promise<void> = done.then((failure) => {
      if (era === this.#era) this.#answer(request, open, failure);
      this.#works.delete(work);
      this.#wake();
    });
    this.#works.add(work);
  }

  #answer(request: number, open: Open, failure: MediumFailure | null): void {
    if (failure !== null) this.#fail(request, open, failure.error, failure.at - open.offset);
    open.fetched = open.fetch !== null;
    this.#given.delete(open);
    const again = failure !== null && keeps(open, statusOf(failure.error));
    if (open.storing && open.live && !again) this.#open.delete(request);
    open.storing = open.storing && !again;
    if (open.live) this.#answers.ready(request);
  }

  #wake(): void {
    this.#answered = true;
    this.#waiting?.resolve();
    this.#waiting = null;
  }

  #transfer(request: number, offset: number, bytes: number, runs: number, toMemory: boolean): number {
    const open = this.#open.get(request);
    if (open === undefined) return 0;
    const { medium } = open.held;
    let moved = 0;
    try {
      if (!medium.sync) {
        return toMemory ? this.#give(open, offset, runs) : this.#gather(open, offset, bytes, runs);
      }
      const at = open.offset + offset;
      const views = this.#runs.views(this.#runs.take(runs), toMemory);
      this.#moving = true;
      moved = counted(toMemory ? medium.readv(at, views) : medium.writev(at, views), bytes);
      if (moved < bytes) throw endedEarly(open, toMemory ? 'read' : 'write', at + moved, moved);
      return moved;
    } catch (error) {
      moved = Math.min(transferredOf(error), bytes);
      if (keeps(open, statusOf(error))) {
        open.refusal ??= { message: messageOf(error), status: statusOf(error) };
        return this.#owe(open, offset, bytes, runs, toMemory);
      }
      this.#fail(request, open, error, offset + moved);
      return moved;
    } finally {
      this.#moving = false;
      this.#runs.settle(moved);
    }
  }

  /** Has the medium asked again for what it failed, when the request ends: reads for what was to be read, writes with a copy. */
  #owe(open: Open, offset: number, bytes: number, runs: number, toMemory: boolean): number {
    if (!toMemory) return this.#gather(open, offset, bytes, runs);
    open.owed.push({ offset: open.offset + offset, bytes, runs: this.#runs.take(runs) });
    return bytes;
  }

  /** Asks a synchronous medium for what it owes. Throws what it throws. */
  #collect(medium: SyncMedium, open: Open): void {
    for (const { offset, bytes, runs } of open.owed) {
      const moved = counted(medium.readv(offset, this.#runs.views(runs, true)), bytes);
      this.#runs.settle(moved);
      if (moved < bytes) throw endedEarly(open, 'read', offset + moved, offset + moved - open.offset);
    }
    for (const { offset, bytes, data } of open.parts) {
      const moved = data === null ? bytes : counted(medium.writev(offset, [data]), bytes);
      if (moved < bytes) throw endedEarly(open, 'write', offset + moved, offset + moved - open.offset);
    }
  }

  /** Copies what was fetched into the run list. */
  #give(open: Open, offset: number, runs: number): number {
    const { fetch, held } = open;
    if (fetch === null || held.lane === null) return 0;
    const content = held.lane.content(fetch);
    let from = offset;
    for (const view of this.#runs.views(this.#runs.take(runs), true)) {
      const piece = content.subarray(from, from + view.length);
      view.set(piece);
      from += piece.length;
    }
    this.#runs.settle(from - offset);
    return from - offset;
  }

  /** Keeps what the run list holds until the request is finished. */
  #gather(open: Open, offset: number, bytes: number, runs: number): number {
    const data = new Uint8Array(bytes);
    let to = 0;
    for (const view of this.#runs.views(this.#runs.take(runs), false)) {
      data.set(view, to);
      to += view.length;
    }
    open.parts.push({ offset: open.offset + offset, bytes, data });
    return bytes;
  }

  #finish(request: number): number {
    const open = this.#open.get(request);
    if (open === undefined) return MEDIA_ERROR;
    const { medium } = open.held;
    const done = medium.sync ? null : this.#finishLater(open);
    if (done !== null) {
      open.storing = true;
      this.#work(request, open, done);
      return MEDIA_PENDING;
    }
    const status = medium.sync ? this.#finishNow(request, medium, open) : MEDIA_OK;
    if (status === MEDIA_OK || !keeps(open, status)) this.#open.delete(request);
    return status;
  }

  #finishNow(request: number, medium: SyncMedium, open: Open): number {
    const { refusal } = open;
    if (refusal !== null) {
      open.refusal = null;
      this.#note(open, refusal.message);
      this.#answers.fail(request, refusal.status, 0);
      return refusal.status;
    }
    this.#moving = true;
    try {
      this.#collect(medium, open);
      if (open.operation === MEDIA_FLUSH) medium.flush();
      else if (open.operation === MEDIA_DISCARD || open.operation === MEDIA_ZERO) {
        medium.discard(open.offset, open.bytes);
      }
      return MEDIA_OK;
    } catch (error) {
      this.#fail(request, open, error, transferredOf(error));
      return statusOf(error);
    } finally {
      this.#moving = false;
    }
  }

  /** Asks an asynchronous medium for what ends the request; null where nothing does. */
  #finishLater(open: Open): Promise<MediumFailure | null> | null {
    const { lane } = open.held;
    if (lane === null) return null;
    if (open.fetch !== null) lane.forget(open.fetch);
    if (open.operation === MEDIA_FLUSH) return lane.flush();
    if (open.operation === MEDIA_DISCARD || open.operation === MEDIA_ZERO) {
      return lane.discard(open.offset, open.bytes);
    }
    return open.operation === MEDIA_WRITE && open.parts.length > 0 ? lane.write(open.parts) : null;
  }

  /** What a write has moved reaches the medium all the same, as it does where the medium is synchronous. */
  #drop(request: number): void {
    const open = this.#open.get(request);
    if (open === undefined) return;
    this.#open.delete(request);
    open.live = false;
    const { lane } = open.held;
    if (lane === null) return;
    if (open.fetch !== null) lane.forget(open.fetch);
    if (open.parts.length > 0 && !open.storing) this.#work(request, open, lane.write(open.parts));
    if (open.parts.length > 0 || open.storing) this.#given.set(open, request);
    this.#wake();
  }

  #fail(request: number, open: Open, error: unknown, failedAt: number): void {
    this.#note(open, messageOf(error));
    if (open.live) this.#answers.fail(request, statusOf(error), Math.max(0, failedAt));
  }

  #note(open: Open, message: string): void {
    const { name } = open.held.medium;
    this.#failures.push(message.startsWith(name) ? message : `${name}: ${message}`);
    if (this.#failures.length > FAILURES_MAX) this.#failures.shift();
  }
}

function saved(request: number, open: Open): SavedRequest {
  const { held, operation, offset, bytes, fetch, live } = open;
  let asked: SavedRequest['asked'] = null;
  if (open.storing || !live) asked = 'store';
  else if (fetch !== null && !open.fetched) asked = 'read';
  const content = fetch !== null && asked === null ? (held.lane?.content(fetch).slice() ?? null) : null;
  return {
    request,
    disk: held.disk,
    operation,
    offset,
    bytes,
    live,
    asked,
    content,
    parts: open.parts.slice(),
    owed: open.owed.slice(),
    refusal: open.refusal,
  };
}

/** Whether the hardware will have the request tried again (assembly/media/park.ts). */
function keeps(open: Open, status: number): boolean {
  const { readErrors, writeErrors } = open.held.policies;
  const policy = (open.operation === MEDIA_READ ? readErrors : writeErrors) ?? 'report';
  if (status === MEDIA_ERROR) return policy === 'stop';
  return status === MEDIA_NO_SPACE && policy !== 'report';
}

function endedEarly(open: Open, verb: string, at: number, transferred: number): MediumError {
  const { name } = open.held.medium;
  return new MediumError(`${name}: ${verb} ended early, at byte ${at}`, 'failed', { transferred });
}

function tooLong(open: Open): MediumError {
  return new MediumError(
    `${open.held.medium.name}: a read of ${open.bytes} bytes; an asynchronous medium takes ${FETCH_MAX} at once`,
    'failed',
  );
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function statusOf(error: unknown): number {
  if (!(error instanceof MediumError)) return MEDIA_ERROR;
  if (error.reason === 'no-space') return MEDIA_NO_SPACE;
  return error.reason === 'read-only' ? MEDIA_READ_ONLY : MEDIA_ERROR;
}
