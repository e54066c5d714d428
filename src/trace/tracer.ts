// The tracer: collects typed events of every layer in the order in which they happened. Off, it costs one
// comparison where an event would be; the module records nothing.

import {
  AT_TRACE,
  AT_TRACE_LOST,
  AT_TRACE_MASK,
  AT_TRACE_READ,
  AT_TRACE_WRITTEN,
  TRACE_MAX,
  TRACE_STRIDE,
} from '../../assembly/bus/layout.ts';
import {
  TRACE_AT_A,
  TRACE_AT_B,
  TRACE_AT_C,
  TRACE_AT_CODE,
  TRACE_AT_D,
  TRACE_AT_DEVICE,
  TRACE_AT_TIME,
} from '../../assembly/bus/trace-codes.ts';
import { type AnyEvent, EVENTS, type EventFields, type EventName } from './events.ts';

export type Listener = (event: AnyEvent) => void;

/** What the tracer needs of the machine. */
export interface TracePort {
  readonly buffer: ArrayBuffer;
  now(): number;
}

const ALL_NAMES = Object.keys(EVENTS) as EventName[];
/** Names of the module's events by their code. */
const BY_CODE = new Map<number, EventName>(
  ALL_NAMES.flatMap((name) => {
    const code = (EVENTS[name] as { code?: number }).code;
    return code === undefined ? [] : [[code, name] as const];
  }),
);

export class Tracer {
  /** Whether anybody listens. Emitters ask before they build an event's fields. */
  enabled = false;
  readonly #port: TracePort;
  readonly #u32: Uint32Array;
  readonly #devices = new Map<number, string>();
  readonly #listeners: { readonly names: ReadonlySet<EventName>; readonly listener: Listener }[] = [];

  constructor(port: TracePort) {
    this.#port = port;
    this.#u32 = new Uint32Array(port.buffer);
  }

  /** Tells how a device of the module is called. */
  introduce(device: { readonly id: number; readonly name: string }): void {
    this.#devices.set(device.id, device.name);
  }

  /** Calls `listener` for each event of the given names (default: all) until the returned function is called. */
  listen(listener: Listener, names: readonly EventName[] = ALL_NAMES): () => void {
    const entry = { names: new Set(names), listener };
    this.collect();
    this.#listeners.push(entry);
    this.#apply();
    return () => {
      this.collect();
      this.#listeners.splice(this.#listeners.indexOf(entry), 1);
      this.#apply();
    };
  }

  /** Emits an event of a kernel or driver. Call only while `enabled`. */
  emit<N extends EventName>(name: N, device: string | null, fields: EventFields<N>): void {
    if (!this.enabled) return;
    this.collect();
    this.#deliver({ name, time: this.#port.now(), device, fields } as AnyEvent);
  }

  /** Takes what the module has recorded since the last call. The machine calls it after each run. */
  collect(): void {
    // A listener may have more events collected: each is taken before it is handed out.
    for (
      let i = this.#word(AT_TRACE_READ);
      i !== this.#word(AT_TRACE_WRITTEN);
      i = this.#word(AT_TRACE_READ)
    ) {
      this.#u32[AT_TRACE_READ >>> 2] = (i + 1) >>> 0;
      this.#decode(AT_TRACE + (i % TRACE_MAX) * TRACE_STRIDE);
    }
  }

  /** Events that the module had no room for, because too many happened in one call. */
  get lost(): number {
    return this.#word(AT_TRACE_LOST);
  }

  #decode(at: number): void {
    const name = BY_CODE.get(this.#word(at + TRACE_AT_CODE));
    if (name === undefined) return;
    const decode = (EVENTS[name] as { decode?: (...numbers: number[]) => object }).decode;
    const device = this.#devices.get(this.#word(at + TRACE_AT_DEVICE)) ?? null;
    const time = this.#word(at + TRACE_AT_TIME + 4) * 2 ** 32 + this.#word(at + TRACE_AT_TIME);
    const numbers = [TRACE_AT_A, TRACE_AT_B, TRACE_AT_C, TRACE_AT_D].map((field) => this.#word(at + field));
    this.#deliver({ name, time, device, fields: decode?.(...numbers) } as AnyEvent);
  }

  #deliver(event: AnyEvent): void {
    for (const { names, listener } of this.#listeners) if (names.has(event.name)) listener(event);
  }

  #apply(): void {
    this.enabled = this.#listeners.length > 0;
    let mask = 0;
    for (const [code, name] of BY_CODE) {
      if (this.#listeners.some(({ names }) => names.has(name))) mask |= 1 << code;
    }
    this.#u32[AT_TRACE_MASK >>> 2] = mask;
  }

  #word(at: number): number {
    return this.#u32[at >>> 2] as number;
  }
}
