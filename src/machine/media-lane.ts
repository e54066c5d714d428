// One asynchronous medium: the order in which it is asked, so that what the guest reads depends on virtual time
// alone. A read is fetched when it is submitted and handed over when it is due; whatever is written in between
// is put over what was fetched. Writes, discards and flushes wait for one another, reads wait for them: that
// matters for those whose request was given up, which may still be under way when the next one comes.

import { type AsyncMedium, MediumError } from '../media/index.ts';

/** Bytes of a medium; null are zeroes. */
export interface Change {
  readonly offset: number;
  readonly bytes: number;
  readonly data: Uint8Array | null;
}

/** A medium failed at that byte of itself. */
export interface MediumFailure {
  readonly at: number;
  readonly error: unknown;
}

/** A read: its bytes, and how many are valid. */
export interface Fetch {
  readonly offset: number;
  readonly buffer: Uint8Array;
  good: number;
  /** What was written to its place since, in order. */
  changes: Change[];
}

export class MediaLane {
  readonly medium: AsyncMedium;
  readonly #fetches = new Set<Fetch>();
  #last: Promise<unknown> = Promise.resolve();
  /** Counts what abandon() did: work that was begun before is void. */
  #era = 0;

  constructor(medium: AsyncMedium) {
    this.medium = medium;
  }

  /** Begins to read; the promise resolves when the bytes are there, as far as they could be read. */
  fetch(offset: number, bytes: number): { fetch: Fetch; done: Promise<MediumFailure | null> } {
    const fetch: Fetch = { offset, buffer: new Uint8Array(bytes), good: 0, changes: [] };
    this.#fetches.add(fetch);
    return { fetch, done: this.#fill(fetch) };
  }

  /** A read whose bytes are there already, as content() gave them. */
  fetched(offset: number, bytes: number, content: Uint8Array): Fetch {
    const fetch: Fetch = { offset, buffer: new Uint8Array(bytes), good: content.length, changes: [] };
    fetch.buffer.set(content);
    this.#fetches.add(fetch);
    return fetch;
  }

  /**
   * Gives up everything that was begun: what the medium has not been asked for yet it never is. What it is doing now it
   * does to the end, and what comes next waits for that.
   */
  abandon(): void {
    this.#era++;
    this.#fetches.clear();
  }

  async #fill(fetch: Fetch): Promise<MediumFailure | null> {
    const { offset, buffer } = fetch;
    const era = this.#era;
    await this.#last;
    if (era !== this.#era) return null;
    try {
      fetch.good = counted(await this.medium.read(offset, buffer), buffer.length);
      return fetch.good === buffer.length ? null : this.#ended('read', offset + fetch.good);
    } catch (error) {
      fetch.good = Math.min(transferredOf(error), buffer.length);
      return { at: offset + fetch.good, error };
    }
  }

  /** The bytes of a read as they are now. */
  content(fetch: Fetch): Uint8Array {
    for (const change of fetch.changes) {
      const from = Math.max(change.offset, fetch.offset);
      const to = Math.min(change.offset + change.bytes, fetch.offset + fetch.buffer.length);
      const target = fetch.buffer.subarray(from - fetch.offset, to - fetch.offset);
      if (change.data === null) target.fill(0);
      else target.set(change.data.subarray(from - change.offset, to - change.offset));
    }
    fetch.changes = [];
    return fetch.buffer.subarray(0, fetch.good);
  }

  /** Nobody asks for the read's bytes any more. */
  forget(fetch: Fetch): void {
    this.#fetches.delete(fetch);
  }

  /** Writes one part after the other, up to the first that fails. */
  write(parts: readonly Change[]): Promise<MediumFailure | null> {
    return this.#inTurn(async (era) => {
      for (const part of parts) {
        const failure = era === this.#era ? await this.#writeOne(part) : null;
        if (failure !== null) return failure;
      }
      return null;
    });
  }

  discard(offset: number, bytes: number): Promise<MediumFailure | null> {
    return this.#inTurn(async (era) => {
      try {
        await this.medium.discard(offset, bytes);
        if (era === this.#era) this.#changed({ offset, bytes, data: null });
        return null;
      } catch (error) {
        return { at: offset + transferredOf(error), error };
      }
    });
  }

  flush(): Promise<MediumFailure | null> {
    return this.#inTurn(async () => {
      try {
        await this.medium.flush();
        return null;
      } catch (error) {
        return { at: 0, error };
      }
    });
  }

  async #writeOne(part: Change): Promise<MediumFailure | null> {
    const { offset, bytes, data } = part;
    const era = this.#era;
    if (data === null) return null;
    let good = 0;
    let failure: MediumFailure | null = null;
    try {
      good = counted(await this.medium.write(offset, data), bytes);
      if (good < bytes) failure = this.#ended('write', offset + good);
    } catch (error) {
      good = Math.min(transferredOf(error), bytes);
      failure = { at: offset + good, error };
    }
    if (good > 0 && era === this.#era) this.#changed({ offset, bytes: good, data });
    return failure;
  }

  /** Runs `work` after everything that was begun before; it never rejects. */
  #inTurn(work: (era: number) => Promise<MediumFailure | null>): Promise<MediumFailure | null> {
    const era = this.#era;
    const done = this.#last.then(() => (era === this.#era ? work(era) : null));
    this.#last = done;
    return done;
  }

  #changed(change: Change): void {
    for (const fetch of this.#fetches) {
      const apart =
        change.offset >= fetch.offset + fetch.buffer.length || fetch.offset >= change.offset + change.bytes;
      if (!apart) fetch.changes.push(change);
    }
  }

  #ended(verb: string, at: number): MediumFailure {
    return {
      at,
      error: new MediumError(`${this.medium.name}: ${verb} ended early, at byte ${at}`, 'failed'),
    };
  }
}

/** How far an operation came that threw `error`. */
export function transferredOf(error: unknown): number {
  return error instanceof MediumError ? error.transferred : 0;
}

/** What a medium says that it moved, if that can be. */
export function counted(moved: number, asked: number): number {
  return Number.isInteger(moved) && moved >= 0 && moved <= asked ? moved : 0;
}
