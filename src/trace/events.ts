// Every event that any layer emits, declared once: its layer, its fields and how each field reads. Types,
// the text form and every exporter derive from this table.

import {
  TRACE_COMMAND,
  TRACE_COMPLETE,
  TRACE_DMA,
  TRACE_IRQ,
  TRACE_MEDIA,
  TRACE_MSI,
  TRACE_READ,
  TRACE_RESET,
  TRACE_WRITE,
} from '../../assembly/bus/trace-codes.ts';

/** How a field is written: a count, an address or register, a name, yes or no. */
export type FieldKind = 'number' | 'hex' | 'name' | 'flag';

type FieldsShape = Readonly<Record<string, FieldKind>>;

/** Where in the way of a byte an event happens, from the user down to the medium. */
export type Layer = 'kernel' | 'linux' | 'solaris' | 'driver' | 'hardware' | 'media';

interface Declaration<F extends FieldsShape> {
  readonly layer: Layer;
  readonly about: string;
  readonly fields: F;
  /** For events of the module: the code, and what the four numbers of the record are. */
  readonly code?: number;
  readonly decode?: (a: number, b: number, c: number, d: number) => Values<F>;
}

type ValueOf<K extends FieldKind> = K extends 'name' ? string : K extends 'flag' ? boolean : number;
type Values<F extends FieldsShape> = { readonly [K in keyof F]: ValueOf<F[K]> };

function declare<F extends FieldsShape>(declaration: Declaration<F>): Declaration<F> {
  return declaration;
}

const MEDIA_NAMES = ['read', 'write', 'flush', 'discard', 'zero', 'verify'];

function wide(low: number, high: number): number {
  return high * 2 ** 32 + low;
}

export const EVENTS = {
  // Both kernels.
  pin: declare({
    layer: 'kernel',
    about: 'pages of a process are pinned for I/O; `write`: the device is to write them',
    fields: { user: 'hex', pages: 'number', write: 'flag' },
  }),
  copy: declare({
    layer: 'kernel',
    about: 'the CPU copies bytes on their way between user memory and device',
    fields: { why: 'name', bytes: 'number' },
  }),
  page_use: declare({
    layer: 'kernel',
    about:
      "a page of a request that goes to the driver: the owner's, what the device is given, and how it came to that",
    fields: { page: 'hex', device_page: 'hex', bytes: 'number', kind: 'name' },
  }),
  // Linux.
  block_bio_queue: declare({
    layer: 'linux',
    about: 'a bio enters a queue',
    fields: { disk: 'name', op: 'name', sector: 'number', sectors: 'number' },
  }),
  block_bio_bounce: declare({
    layer: 'linux',
    about: 'a bio is bounced',
    fields: { disk: 'name', op: 'name', sector: 'number', sectors: 'number' },
  }),
  block_split: declare({
    layer: 'linux',
    about: 'a bio is split; `rest` is the first sector of the rest',
    fields: { disk: 'name', op: 'name', sector: 'number', rest: 'number' },
  }),
  block_bio_remap: declare({
    layer: 'linux',
    about: 'a bio for a partition is moved to the whole disk',
    fields: { disk: 'name', op: 'name', sector: 'number', from: 'number' },
  }),
  block_rq_issue: declare({
    layer: 'linux',
    about: 'a request goes to the driver',
    fields: { disk: 'name', op: 'name', bytes: 'number', segments: 'number' },
  }),
  block_rq_complete: declare({
    layer: 'linux',
    about: 'a request, or a part of it, has ended',
    fields: { disk: 'name', op: 'name', bytes: 'number', error: 'number' },
  }),
  block_getrq: declare({
    layer: 'linux',
    about: 'a request is allocated',
    fields: { disk: 'name', op: 'name' },
  }),
  block_sleeprq: declare({
    layer: 'linux',
    about: 'a task waits for a free request',
    fields: { disk: 'name', op: 'name' },
  }),
  dma_map: declare({
    layer: 'linux',
    about:
      'memory is mapped for a device; `memory` differs from `bus` where a slot of the swiotlb stands for it',
    fields: { bus: 'hex', memory: 'hex', bytes: 'number', direction: 'name' },
  }),
  dma_unmap: declare({
    layer: 'linux',
    about: 'a mapping ends',
    fields: { bus: 'hex', bytes: 'number', direction: 'name' },
  }),

  // Solaris.
  buf_start: declare({
    layer: 'solaris',
    about: 'a buf comes to the driver of disks; `block` of 512 bytes',
    fields: { disk: 'name', op: 'name', block: 'number', bytes: 'number' },
  }),
  buf_done: declare({
    layer: 'solaris',
    about: 'the driver of disks ends a buf; `resid` bytes of it were not moved',
    fields: { disk: 'name', op: 'name', bytes: 'number', resid: 'number', error: 'number' },
  }),
  dma_bind: declare({
    layer: 'solaris',
    about: 'memory is bound to a DMA handle; `copy_pages`: of how many pages its copy buffer is',
    fields: { bytes: 'number', windows: 'number', copy_pages: 'number', direction: 'name' },
  }),
  dma_cookie: declare({
    layer: 'solaris',
    about:
      'a cookie of a window that becomes the current one; `memory` differs from `bus` where the copy buffer stands for it',
    fields: { bus: 'hex', memory: 'hex', bytes: 'number', window: 'number' },
  }),
  dma_unbind: declare({
    layer: 'solaris',
    about: 'a binding ends',
    fields: { bytes: 'number' },
  }),

  driver_submit: declare({
    layer: 'driver',
    about: 'a command is given to the hardware',
    fields: { tag: 'number', op: 'name', bytes: 'number', segments: 'number' },
  }),
  driver_done: declare({
    layer: 'driver',
    about: 'the driver has taken a command back from the hardware',
    fields: { tag: 'number', status: 'name', residual: 'number' },
  }),
  interrupt: declare({
    layer: 'driver',
    about: "the driver's interrupt handler was called; `mine`: it was its controller's",
    fields: { line: 'number', mine: 'flag' },
  }),

  // The module's own, in the order of its codes.
  register_read: declare({
    layer: 'hardware',
    about: 'the CPU reads a register',
    fields: { bar: 'number', at: 'hex', size: 'number', value: 'hex' },
    code: TRACE_READ,
    decode: (bar, at, size, value) => ({ bar, at, size, value }),
  }),
  register_write: declare({
    layer: 'hardware',
    about: 'the CPU writes a register',
    fields: { bar: 'number', at: 'hex', size: 'number', value: 'hex' },
    code: TRACE_WRITE,
    decode: (bar, at, size, value) => ({ bar, at, size, value }),
  }),
  dma: declare({
    layer: 'hardware',
    about: 'the device touches memory; `write`: memory is written',
    fields: { address: 'hex', bytes: 'number', write: 'flag' },
    code: TRACE_DMA,
    decode: (low, high, bytes, direction) => ({ address: wide(low, high), bytes, write: direction === 2 }),
  }),
  command: declare({
    layer: 'hardware',
    about: 'the controller has fetched a command',
    fields: { tag: 'number', opcode: 'hex', sector: 'number', count: 'number' },
    code: TRACE_COMMAND,
    decode: (tag, opcode, sector, count) => ({ tag, opcode, sector, count }),
  }),
  complete: declare({
    layer: 'hardware',
    about: 'the controller has ended a command',
    fields: { tag: 'number', status: 'hex' },
    code: TRACE_COMPLETE,
    decode: (tag, status) => ({ tag, status }),
  }),
  irq: declare({
    layer: 'hardware',
    about: 'an interrupt line changes',
    fields: { line: 'number', level: 'number' },
    code: TRACE_IRQ,
    decode: (line, level) => ({ line, level }),
  }),
  msi: declare({
    layer: 'hardware',
    about: 'a message-signalled interrupt is sent',
    fields: { address: 'hex', data: 'hex' },
    code: TRACE_MSI,
    decode: (low, high, data) => ({ address: wide(low, high), data }),
  }),
  media: declare({
    layer: 'media',
    about: 'a medium is asked to do something',
    fields: { op: 'name', sector: 'number', sectors: 'number' },
    code: TRACE_MEDIA,
    decode: (op, low, high, sectors) => ({
      op: MEDIA_NAMES[op] ?? String(op),
      sector: wide(low, high),
      sectors,
    }),
  }),
  reset: declare({
    layer: 'hardware',
    about: 'the controller is reset',
    fields: { kind: 'number' },
    code: TRACE_RESET,
    decode: (kind) => ({ kind }),
  }),
} as const;

export type EventName = keyof typeof EVENTS;
export type EventFields<N extends EventName> = Values<(typeof EVENTS)[N]['fields']>;

/** One event: what, when in virtual ns, from which device (null: from none), with the fields of its declaration. */
export interface TraceEvent<N extends EventName = EventName> {
  readonly name: N;
  readonly time: number;
  readonly device: string | null;
  readonly fields: EventFields<N>;
}

/** Any event, discriminated by its name. */
export type AnyEvent = { [N in EventName]: TraceEvent<N> }[EventName];
