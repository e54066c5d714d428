// What the guard knows of memory pools: what lies in their reserves, where nobody has any business, and which task took
// bios out of them. Fed by mempool.ts and bio.ts; made only while the guard is on. It reports and never changes what a
// call does.

import { hex } from '../guard/guard.ts';
import { type Cpu, eachPfn, PAGE_SIZE, Page, type Task } from '../kernel/index.ts';
import type { Machine } from '../machine/index.ts';
import { bio_flagged } from './bio-iter.ts';
import { BIO_TRACE_COMPLETION, Bio } from './bio-struct.ts';
import type { Element, Mempool } from './mempool.ts';
import { nameOfBio } from './task.ts';

/** Memory in a reserve. */
interface Resting {
  readonly address: number;
  readonly bytes: number;
  readonly pool: string;
  told: boolean;
}

/** What of the kernel it looks at. */
export interface PoolDebugOptions {
  readonly machine: Machine;
  readonly cpu: Cpu;
  /** Memory lost its owner. */
  readonly freed: (address: number, bytes: number, what: string) => void;
}

export class PoolDebug {
  readonly #options: PoolDebugOptions;
  /** By number of each page that it touches. */
  readonly #resting = new Map<number, Resting[]>();
  /** Bios that a task has taken out of a reserve and not given back. Those of the allocator are no reserve's loss. */
  readonly #holders = new Map<Bio, Task>();

  constructor(options: PoolDebugOptions) {
    this.#options = options;
    options.machine.memory.watchTouches((address, bytes, write) => this.#touched(address, bytes, write));
  }

  /** An element leaves the reserve. */
  taken(element: Element): void {
    const { machine, cpu } = this.#options;
    const at = addressOf(element);
    const resting = this.#resting.get(Math.floor(at / PAGE_SIZE))?.find(({ address }) => address === at);
    if (resting !== undefined) {
      machine.memory.watchPages(at, resting.bytes, -1);
      eachPfn(at, resting.bytes, (pfn) => {
        const others = (this.#resting.get(pfn) ?? []).filter((other) => other !== resting);
        if (others.length > 0) this.#resting.set(pfn, others);
        else this.#resting.delete(pfn);
      });
    }
    if (element instanceof Bio && cpu.current !== null && !cpu.inInterrupt)
      this.#holders.set(element, cpu.current);
  }

  /** An element is given back, wherever it goes. */
  freed(element: Element): void {
    if (this.#holders.size > 0) this.#holders.delete(element as Bio); // another element is none of its keys
  }

  /** The reserve gets it. */
  returned({ name, elementBytes: bytes }: Pick<Mempool, 'name' | 'elementBytes'>, element: Element): void {
    const address = addressOf(element);
    if (address < 0 || bytes === 0) return;
    const { machine, freed } = this.#options;
    freed(address, bytes, `memory is given back to ${name}`);
    machine.memory.watchPages(address, bytes, 1);
    const resting: Resting = { address, bytes, pool: name, told: false };
    eachPfn(address, bytes, (pfn) => {
      const others = this.#resting.get(pfn);
      if (others === undefined) this.#resting.set(pfn, [resting]);
      else others.push(resting);
    });
  }

  /**
   * The running task is going to sleep until there is an element. A bio of the pool that it has and has not submitted is
   * one that nobody will give back before.
   */
  awaited(pool: Pick<Mempool, 'name'>): void {
    const { machine, cpu } = this.#options;
    for (const [bio, task] of this.#holders) {
      if (task !== cpu.current || bio.bi_pool?.bio_pool !== pool || isInFlight(bio)) continue;
      machine.guard.report({
        rule: 'pool-nested',
        message: `${task.name} waits for one of the ${pool.name} and has not submitted another one, ${nameOfBio(bio)}`,
      });
      return;
    }
  }

  /** The last reference of a bio is dropped. */
  put(bio: Bio): void {
    if (!isInFlight(bio)) return;
    this.#options.machine.guard.report({
      rule: 'pool-use-after-free',
      message: `${nameOfBio(bio)} is freed before its end`,
      length: bio.bi_iter.bi_size,
    });
  }

  #touched(address: number, bytes: number, write: boolean): void {
    if (this.#resting.size === 0) return;
    const end = address + bytes;
    eachPfn(address, bytes, (pfn) => {
      for (const resting of this.#resting.get(pfn) ?? []) {
        const from = Math.max(address, resting.address);
        const length = Math.min(end, resting.address + resting.bytes) - from;
        if (length <= 0 || resting.told) continue;
        resting.told = true;
        this.#options.machine.guard.report({
          rule: 'pool-use-after-free',
          message: `the CPU ${write ? 'wrote' : 'read'} ${length} bytes at ${hex(from)}, which were given back to ${resting.pool}`,
          address: from,
          length,
          direction: write ? 'write' : 'read',
        });
      }
    });
  }
}

/** Physical address of an element that is memory; -1 for an object. */
function addressOf(element: Element): number {
  if (typeof element === 'number') return element;
  return element instanceof Page ? element.phys : -1;
}

/** Submitted, and not ended. */
function isInFlight(bio: Bio): boolean {
  return bio_flagged(bio, BIO_TRACE_COMPLETION);
}
