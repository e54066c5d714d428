// What the kernels of scenarios have in common: a process, its memory in stretches with their pages where the scenario
// wants them.

import {
  type AddressSpace,
  type KernelCore,
  PAGE_SIZE,
  type Sleeps,
  type Task,
  VM_READ,
  VM_WRITE,
} from '../kernel/index.ts';
import { MachineError } from '../machine/index.ts';
import type { Harness, Placement, UserBuffer } from './kernel.ts';

/** Runs a body as a process with this memory, which it gives up again. */
export type Spawn = <T>(mm: AddressSpace, body: (mm: AddressSpace) => Sleeps<T>) => Task<T>;

type Kernel = Pick<KernelCore, 'vm' | 'scheduler' | 'allocator' | 'frames'>;

export class ProcessHarness implements Pick<Harness, 'zones' | 'allocate' | 'store' | 'load' | 'protect'> {
  readonly zones: Harness['zones'];
  readonly #kernel: Kernel;
  readonly #spawn: Spawn;
  readonly #spaces: { readonly mm: AddressSpace; readonly start: number; readonly end: number }[] = [];
  #nextAddress = 0x1000_0000;

  constructor(kernel: Kernel, spawn: Spawn) {
    this.zones = zonesOf(kernel);
    this.#kernel = kernel;
    this.#spawn = spawn;
  }

  /** Gives the process memory. Throws MachineError when there is none. */
  allocate(bytes: number, placement: Placement): UserBuffer {
    const { scatter, ...range } = placement;
    const { vm, scheduler } = this.#kernel;
    const order = scatter === undefined ? {} : ({ placement: scatter ? 'scatter' : 'contiguous' } as const);
    const mm = vm.createSpace({ ...range, ...order });
    const length = Math.ceil(bytes / PAGE_SIZE) * PAGE_SIZE;
    const at = this.#nextAddress;
    this.#nextAddress += length + PAGE_SIZE;
    const address = scheduler.complete('mmap', function* () {
      return yield* mm.mmap({ address: at, length, prot: VM_READ | VM_WRITE });
    });
    if (address < 0) throw new MachineError(`the process got no memory (errno ${-address})`);
    this.#spaces.push({ mm, start: address, end: address + length });
    this.store(address, new Uint8Array(length));
    const pages: number[] = [];
    for (let page = address; page < address + length; page += PAGE_SIZE) {
      pages.push(mm.pageTable.page(page)?.phys ?? 0);
    }
    return { address, bytes: length, pages };
  }

  /** Writes as the process would. */
  store(address: number, bytes: Uint8Array): void {
    const { userCopy } = this.#kernel.vm;
    const copied = this.#complete(address, (mm) => userCopy.toUser(mm, address, bytes));
    if (copied !== bytes.length) throw new MachineError('the process ran out of memory');
  }

  /** Reads as the process would. */
  load(address: number, into: Uint8Array): void {
    const { userCopy } = this.#kernel.vm;
    const copied = this.#complete(address, (mm) => userCopy.fromUser(mm, address, into));
    if (copied !== into.length) throw new MachineError('the process cannot read its memory');
  }

  /** Takes away what the process may do with whole pages: everything, or writing. */
  protect(address: number, bytes: number, allowed: 'nothing' | 'reading'): void {
    const error = this.#complete(address, (mm) =>
      allowed === 'nothing' ? mm.munmap(address, bytes) : mm.mprotect(address, bytes, VM_READ),
    );
    if (error !== 0) throw new MachineError(`the process's memory cannot be protected (errno ${-error})`);
  }

  /** Starts `body` as the process, with its memory around `address`. */
  protected run<T>(address: number, body: (mm: AddressSpace) => Sleeps<T>): Task<T> {
    const space = this.#spaces.find(({ start, end }) => address >= start && address < end);
    if (space === undefined) throw new MachineError(`the process has no memory at 0x${address.toString(16)}`);
    space.mm.grab();
    return this.#spawn(space.mm, body);
  }

  /** The process ends. */
  protected *drop(): Sleeps<void> {
    for (const { mm } of this.#spaces) yield* mm.drop();
  }

  /** Runs `body`, which waits for no disk. */
  #complete<T>(address: number, body: (mm: AddressSpace) => Sleeps<T>): T {
    const task = this.run(address, body);
    this.#kernel.scheduler.run({ until: task });
    return task.exitValue as T; // it ended, without an exception
  }
}

/** The kernel's zones, cut where their memory has gaps. */
function zonesOf({ allocator, frames }: Kernel): Harness['zones'] {
  return allocator.zones.flatMap(({ name, first, end }) =>
    stretches(frames.pages.slice(first, end).map(({ phys }) => phys)).map((piece) => ({ name, ...piece })),
  );
}

/** Joins neighbouring pages to stretches. */
function stretches(pages: readonly number[]): { base: number; bytes: number }[] {
  const found: { base: number; bytes: number }[] = [];
  for (const page of pages) {
    const last = found.at(-1);
    if (last !== undefined && last.base + last.bytes === page) last.bytes += PAGE_SIZE;
    else found.push({ base: page, bytes: PAGE_SIZE });
  }
  return found;
}
