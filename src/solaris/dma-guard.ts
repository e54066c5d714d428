// What the guard is told about bindings: the memory of their current window, whose it is, and what was unlocked under
// them. Made only while the guard is on. It reports and never changes what a call does.
//
// Whose memory it is follows ddi_dma_sync(9F): what the device writes, the CPU reads after a sync for it; what the CPU
// writes, the device reads after a sync for that, and binding, unbinding and a change of windows are syncs. Nobody has
// to ask before he writes what the device only reads. Memory bound as DDI_DMA_CONSISTENT is both sides' all the time.

import { type Access, hex, type Mapping, type Rule } from '../guard/index.ts';
import { eachPfn, type Owned, Owners, PAGE_SIZE } from '../kernel/index.ts';
import type { Controller } from '../machine/index.ts';
import { DDI_DMA_CONSISTENT, DDI_DMA_RDWR, DDI_DMA_READ } from './dma-attr.ts';
import { DIRECT, type Run } from './dma-plan.ts';
import type { Binding, DdiDmaHandle } from './dma-struct.ts';
import type { SolarisCore } from './kernel.ts';

/** A cookie of a current window. */
interface OwnedCookie extends Owned {
  readonly mapping: Mapping;
}

/** What the guard has of the current window of a binding. */
interface Watched {
  readonly device: Controller;
  /** One for each cookie. */
  readonly mappings: readonly number[];
  /** Parts of cookies of which others were unlocked. */
  readonly parts: number[];
  /** None where both sides may do as they like. */
  readonly owned: readonly OwnedCookie[];
}

export class DmaGuard {
  readonly #k: SolarisCore;
  readonly #watched = new Map<Binding, Watched>();
  /** By number of the page. */
  readonly #pages = new Map<number, OwnedCookie[]>();
  /** Null: nobody looks at what the CPU touches. */
  readonly #owners: Owners<OwnedCookie> | null;

  constructor(k: SolarisCore) {
    this.#k = k;
    const { machine, allocator } = k;
    const mappingOf = ({ mapping }: OwnedCookie): Mapping => mapping;
    this.#owners = machine.guard.watchesOwners
      ? new Owners<OwnedCookie>({ machine, allocator, mappingOf }, this.#pages)
      : null;
    k.vm.onUnmap = ({ pfn }, why) => {
      if (why === 'fork') this.#forked(pfn);
    };
  }

  /** A window becomes the current one, whose memory the device may now use. */
  take(binding: Binding, device: Controller): void {
    const { guard } = this.#k.machine;
    const access = accessOf(binding);
    const shared = (binding.flags & DDI_DMA_CONSISTENT) !== 0;
    const owned: OwnedCookie[] = [];
    const mappings = binding.cookies.map(({ dmac_laddress: address, dmac_size: size, index }) => {
      const handle = guard.map(device, address, size, access, binding.kind, binding.where);
      const mapping = guard.mapping(handle);
      this.#checkReach(binding, device, address, size, mapping);
      const run = binding.window?.runs[index];
      if (this.#owners !== null && !shared && mapping !== null && run !== undefined)
        owned.push(this.#own(this.#owners, run, mapping));
      return handle;
    });
    const watched = { device, mappings, parts: [], owned };
    this.#watched.set(binding, watched);
    if (binding.unlocked !== null) this.#cut(binding, watched);
    if (access !== 'read') this.#checkLocks(binding, watched);
  }

  /** From now on the device has no business in the current window. */
  release(binding: Binding): void {
    const watched = this.#watched.get(binding);
    if (watched === undefined) return;
    this.#watched.delete(binding);
    const { guard } = this.#k.machine;
    for (const handle of watched.mappings) guard.unmap(handle);
    for (const handle of watched.parts) guard.unmap(handle);
    for (const cookie of watched.owned) this.#disown(cookie);
  }

  /** ddi_dma_sync() of bytes of the object that are in the current window. */
  synced(binding: Binding, start: number, bytes: number, forCpu: boolean): void {
    const { owned } = this.#watched.get(binding) ?? {};
    if (owned === undefined || owned.length === 0) return;
    let at = binding.window?.offset ?? 0;
    for (const cookie of owned) {
      const from = Math.max(start, at);
      const length = Math.min(start + bytes, at + cookie.size) - from;
      if (length > 0) {
        this.#owners?.synced(cookie, cookie.address + from - at, length, forCpu);
        if (!forCpu) this.#owners?.toldBy(cookie, cookie.cpu + from - at, cookie.cpu + from - at + length);
      }
      at += cookie.size;
    }
  }

  /** The kernel copies, or has done so: that is not the driver's doing. */
  copying(held: boolean): void {
    this.#owners?.hold(held);
  }

  /** The mapping that stands for a binding in findings. */
  mappingOf(binding: Binding): Mapping | null {
    return this.#k.machine.guard.mapping(this.#watched.get(binding)?.mappings[0] ?? 0);
  }

  /** A handle is to be used that is bound or was freed. */
  misused({ binding, dip }: DdiDmaHandle, where: string): void {
    const { name } = dip.controller;
    const mapping = binding === null ? null : this.mappingOf(binding);
    const what = binding === null ? 'a handle that was freed' : `a handle that is bound (${binding.kind})`;
    this.#k.machine.guard.report({
      rule: 'handle-rebind',
      message: `${name}: ${where}() of ${what}`,
      device: name,
      address: mapping?.address ?? null,
      length: binding?.bytes ?? 0,
      direction: binding === null ? null : accessOf(binding),
      mapping,
    });
  }

  /** UMEM-07: a page is unlocked that is bound: that is the mistake, and whoever uses it from now on another one. */
  unlocked(binding: Binding, pfn: number): void {
    const watched = this.#watched.get(binding);
    if (watched === undefined) return;
    const what = 'was unlocked before ddi_dma_unbind_handle()';
    this.#report('free-mapped', binding, watched.device, pfn, what);
    for (const cookie of this.#pages.get(pfn) ?? []) this.#owners?.lost(cookie);
    this.#cut(binding, watched);
  }

  /** UMEM-07: the kernel copies to or from a page that was unlocked. */
  copied(binding: Binding, pfn: number): void {
    const watched = this.#watched.get(binding);
    if (watched !== undefined)
      this.#report('use-after-unlock', binding, watched.device, pfn, 'is copied after it was unlocked');
  }

  /** ULOCK-16: fork copies what is locked; a page that a device writes meanwhile is neither old nor new in the copy. */
  #forked(pfn: number): void {
    for (const [binding, watched] of this.#watched) {
      const cookies = watched.owned.filter(({ cpu, size }) => touches(cpu, size, pfn));
      if (accessOf(binding) === 'read' || cookies.length === 0) continue;
      this.#report(
        'user-unmapped',
        binding,
        watched.device,
        pfn,
        'is copied for a fork while a device writes it',
      );
      for (const cookie of cookies) this.#owners?.excuse(cookie);
    }
  }

  #own(owners: Owners<OwnedCookie>, { phys, bytes }: Run, mapping: Mapping): OwnedCookie {
    const { handle, device, address, access } = mapping;
    const cookie: OwnedCookie = {
      mapping,
      handle,
      device,
      address,
      cpu: phys,
      size: bytes,
      access,
      writeFirst: access !== 'write',
      cpuFrom: 0,
      cpuTo: 0,
      staleFrom: 0,
      staleTo: 0,
      wrote: false,
      told: 0,
    };
    eachPfn(phys, bytes, (pfn) => {
      const list = this.#pages.get(pfn);
      if (list === undefined) this.#pages.set(pfn, [cookie]);
      else list.push(cookie);
    });
    owners.take(cookie);
    owners.toldBy(cookie, phys, phys + bytes); // binding is a sync
    return cookie;
  }

  #disown(cookie: OwnedCookie): void {
    this.#owners?.giveBack(cookie);
    eachPfn(cookie.cpu, cookie.size, (pfn) => {
      const list = (this.#pages.get(pfn) ?? []).filter((other) => other !== cookie);
      if (list.length > 0) this.#pages.set(pfn, list);
      else this.#pages.delete(pfn);
    });
  }

  /** Takes the pages that were unlocked away from the device, which keeps the others of the same cookie. */
  #cut(binding: Binding, watched: Watched): void {
    const { guard } = this.#k.machine;
    const { unlocked, window, cookies, kind, where } = binding;
    for (const handle of watched.parts.splice(0)) guard.unmap(handle, true);
    window?.runs.forEach((run, i) => {
      const address = cookies[i]?.dmac_laddress ?? 0;
      const gone: number[] = [];
      eachPfn(run.phys, run.bytes, (pfn) => {
        if (unlocked?.has(pfn) === true) gone.push(pfn);
      });
      if (run.slot !== DIRECT || gone.length === 0) return;
      guard.unmap(watched.mappings[i] ?? 0, true);
      eachPart(address, run.bytes, gone, (from, bytes) => {
        watched.parts.push(guard.map(watched.device, from, bytes, accessOf(binding), kind, where));
      });
    });
  }

  #checkReach(
    binding: Binding,
    device: Controller,
    address: number,
    length: number,
    mapping: Mapping | null,
  ): void {
    if (address + length <= 2 ** Math.min(device.profile.addressBits, 53)) return;
    this.#k.machine.guard.report({
      rule: 'map-mask',
      message: `${binding.kind} gave ${length} bytes at ${hex(address)}, which ${device.name} does not reach`,
      device: device.name,
      address,
      length,
      direction: accessOf(binding),
      mapping,
    });
  }

  /** IOSETUP-04: a device is to write what every lock says will only be read. */
  #checkLocks(binding: Binding, { device }: Watched): void {
    for (const { phys, bytes } of binding.window?.runs ?? []) {
      eachPfn(phys, bytes, (pfn) => {
        const page = this.#k.frames.pfnToPage(pfn);
        if (page === null || page.locks === 0 || page.writeLocks > 0) return;
        const what = 'is locked for reading alone, and bound for the device to write';
        this.#report('pin-readonly', binding, device, pfn, what);
      });
    }
  }

  #report(rule: Rule, binding: Binding, { name }: Controller, pfn: number, what: string): void {
    const address = pfn * PAGE_SIZE;
    this.#k.machine.guard.report({
      rule,
      message: `${name}: the page at ${hex(address)} ${what}`,
      device: name,
      address,
      length: PAGE_SIZE,
      direction: accessOf(binding),
      mapping: this.mappingOf(binding),
    });
  }
}

/** What the device may do with the memory. */
export function accessOf({ flags }: Binding): Access {
  if ((flags & DDI_DMA_RDWR) === DDI_DMA_RDWR) return 'both';
  return (flags & DDI_DMA_READ) !== 0 ? 'write' : 'read';
}

/** Whether some of the bytes are in a page. */
export function touches(phys: number, bytes: number, pfn: number): boolean {
  return phys < (pfn + 1) * PAGE_SIZE && phys + bytes > pfn * PAGE_SIZE;
}

/** Calls `visit` for each stretch of `bytes` bytes at `address` between the pages `gone`, which are in order. */
function eachPart(
  address: number,
  bytes: number,
  gone: readonly number[],
  visit: (from: number, bytes: number) => void,
): void {
  let from = address;
  for (const pfn of gone) {
    if (pfn * PAGE_SIZE > from) visit(from, pfn * PAGE_SIZE - from);
    from = (pfn + 1) * PAGE_SIZE;
  }
  if (from < address + bytes) visit(from, address + bytes - from);
}
