// Asynchronous events ([1] 5.2): a request for one is always with the controller. What comes is told, its log is read so
// that its kind can come again, namespaces that changed are looked at, and the next request goes out. All of it from
// completions: nothing here waits. References are those of nvme.ts.

import * as regs from '../../assembly/nvme/regs.ts';
import type { DriverHost } from './driver.ts';

const PAGE_BYTES = 4096;
/** Command identifiers from here on are the events'. */
export const EVENT_CIDS = 0xfffc;
const IDENTIFY_CID = 0xfffc;
const LOG_CID = 0xfffd;
const REQUEST_CID = 0xfffe;
/** Every log but that of namespaces: its first 512 bytes. */
const LOG_DWORDS = 128;
/** Instead of a list: too many changed to name them. */
const ALL_NAMESPACES = 0xffffffff;
const TYPES = ['error', 'smart', 'notice'] as const;

/** What the controller told; `info` is the number that the specification gives it within its type. */
export interface NvmeEvent {
  readonly type: (typeof TYPES)[number] | 'other';
  readonly info: number;
  /** Log page that says more. */
  readonly log: number;
}

/** What events need of the driver. */
export interface EventClient {
  /** Puts an admin command into the queue and rings; false: there is no room. */
  send(opcode: number, cid: number, nsid: number, address: number, dword10: number): boolean;
  /** Namespaces that the driver knows. */
  namespaces(): readonly number[];
  /** A namespace has changed; `data` is what Identify says of it, all zeroes where it has gone. */
  changed(nsid: number, data: Uint8Array): void;
  told(event: NvmeEvent): void;
}

export class NvmeEvents {
  readonly #host: DriverHost;
  readonly #client: EventClient;
  readonly #page: number;
  #log = 0;
  #nsids: number[] = [];
  /** What is to be sent as soon as there is room. */
  #next = 0;

  constructor(host: DriverHost, client: EventClient, addressBits: number) {
    this.#host = host;
    this.#client = client;
    this.#page = host.dma.alloc(PAGE_BYTES, PAGE_BYTES, addressBits);
  }

  /** The controller is ready: the first request. */
  start(): void {
    this.#nsids = [];
    this.#next = REQUEST_CID;
    this.step();
  }

  /** A completion of one of the identifiers from EVENT_CIDS on. */
  handle(cid: number, status: number, result: number): void {
    const failed = (status & regs.NVME_STATUS_MASK) !== regs.NVME_SUCCESS;
    if (cid === REQUEST_CID) {
      // One that was aborted, or is one too many.
      if (failed) return;
      this.#log = (result >>> 16) & 0xff;
      const type = TYPES[result & 7] ?? 'other';
      this.#client.told({ type, info: (result >>> 8) & 0xff, log: this.#log });
      this.#next = LOG_CID;
    } else if (cid === LOG_CID) {
      if (this.#log === regs.NVME_LOG_CHANGED_NAMESPACES && !failed) this.#nsids = this.#changed();
      this.#next = this.#nsids.length > 0 ? IDENTIFY_CID : REQUEST_CID;
    } else {
      const nsid = this.#nsids.shift();
      if (nsid !== undefined && !failed)
        this.#client.changed(nsid, this.#host.memory.readBytes(this.#page, PAGE_BYTES));
      this.#next = this.#nsids.length > 0 ? IDENTIFY_CID : REQUEST_CID;
    }
    this.step();
  }

  /** Sends what found no room so far. */
  step(): void {
    if (this.#next === 0) return;
    const page = this.#page;
    const cid = this.#next;
    let sent: boolean;
    if (cid === REQUEST_CID) {
      sent = this.#client.send(regs.NVME_ADMIN_ASYNC_EVENT, cid, 0, 0, 0);
    } else if (cid === LOG_CID) {
      const dwords = this.#log === regs.NVME_LOG_CHANGED_NAMESPACES ? PAGE_BYTES / 4 : LOG_DWORDS;
      const dword10 = ((dwords - 1) << 16) | this.#log;
      sent = this.#client.send(regs.NVME_ADMIN_GET_LOG_PAGE, cid, 0, page, dword10);
    } else {
      const nsid = this.#nsids[0] ?? 0;
      sent = this.#client.send(regs.NVME_ADMIN_IDENTIFY, cid, nsid, page, regs.NVME_CNS_NAMESPACE);
    }
    if (sent) this.#next = 0;
  }

  free(): void {
    this.#host.dma.free(this.#page, PAGE_BYTES);
  }

  /** The list in the log: those that the driver knows. */
  #changed(): number[] {
    const known = this.#client.namespaces();
    const list = this.#host.memory.readBytes(this.#page, PAGE_BYTES);
    if (get32(list, 0) === ALL_NAMESPACES) return [...known];
    const found: number[] = [];
    for (let at = 0; at < PAGE_BYTES && get32(list, at) !== 0; at += 4) {
      if (known.includes(get32(list, at))) found.push(get32(list, at));
    }
    return found;
  }
}

export function get32(data: Uint8Array, at: number): number {
  const [a = 0, b = 0, c = 0, d = 0] = data.subarray(at, at + 4);
  return (a | (b << 8) | (c << 16) | (d << 24)) >>> 0;
}

/** Blocks and bytes of a block, from the data that Identify has of a namespace ([1] 5.15.2.1). */
export function sizeOf(data: Uint8Array): { sectors: number; sectorBytes: number } {
  const format = (data[regs.NVME_ID_NS_FLBAS] ?? 0) & 15;
  return {
    sectors: get32(data, regs.NVME_ID_NS_NSZE) + get32(data, regs.NVME_ID_NS_NSZE + 4) * 2 ** 32,
    sectorBytes: 2 ** (data[regs.NVME_ID_NS_LBAF + 4 * format + 2] ?? 0),
  };
}
