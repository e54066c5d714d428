// What the guard is told about mappings, and what it is told when they are used wrongly (lib/dma-debug.c of 3.10 knows
// most of these mistakes too). Called by dma-mapping.ts, only while the guard is on. It reports and never changes what
// a call does.

import { hex } from '../guard/guard.ts';
import type { Mapping, Rule } from '../guard/index.ts';
import { endOf, Owners, PAGE_SIZE, type Page, PG_reserved } from '../kernel/index.ts';
import { type Device, DMA_BIDIRECTIONAL, DMA_FROM_DEVICE, DMA_TO_DEVICE } from './device.ts';
import { ACCESS, type Entry, firstPfn, lastPfn, lineOf, type MappingCall } from './dma-entry.ts';
import type { Linux } from './kernel.ts';
import type { PinDebug } from './pin-debug.ts';
import type { Scatterlist } from './scatterlist.ts';

/** Mappings for a device to write that may share a cache line. */
export const MAX_OVERLAP = 7;

const DIRECTION: readonly string[] = ['both ways', 'to the device', 'from the device'];

/** What is known of one device. */
class Watched {
  /** By the page in which they begin, by bus address. A list stays when it is empty: it will be needed again. */
  readonly entries = new Map<number, Entry[]>();
}

export function createDmaDebug(k: Linux) {
  const { guard } = k.machine;
  const devices = new Map<Device, Watched>();
  /** Mappings of all devices by the page that they touch: number of the page of their memory. */
  const pages = new Map<number, Entry[]>();
  /** Null: nobody looks at what the CPU touches. */
  const owners = guard.watchesOwners
    ? new Owners<Entry>({ machine: k.machine, allocator: k.allocator, mappingOf }, pages)
    : null;

  /** The device that was asked about last. */
  let lastDevice: Device | null = null;
  let lastWatched = new Watched();

  function watchedOf(dev: Device): Watched {
    if (dev === lastDevice) return lastWatched;
    lastWatched = devices.get(dev) ?? new Watched();
    devices.set(dev, lastWatched);
    lastDevice = dev;
    return lastWatched;
  }

  /** Mappings that begin in the page of a bus address. */
  function beginningAt(dev: Device, address: number): Entry[] {
    return listAt(watchedOf(dev).entries, Math.floor(address / PAGE_SIZE));
  }

  function report(
    rule: Rule,
    dev: Device,
    call: Omit<MappingCall, 'kind' | 'cpu'>,
    what: string,
    entry?: Entry,
  ): void {
    const where = call.where === '' ? '' : ` in ${call.where}`;
    guard.report({
      rule,
      message: `${dev.name}: ${what} (${call.size} bytes at ${hex(call.address)})${where}`,
      device: dev.name,
      address: call.address,
      length: call.size,
      direction: ACCESS[call.dir] ?? null,
      mapping: entry === undefined ? null : mappingOf(entry),
    });
  }

  /** The mapping as findings describe it, also where the guard does not watch mappings. */
  function mappingOf(entry: Entry): Mapping {
    return (
      guard.mapping(entry.handle) ?? {
        handle: 0,
        device: entry.device,
        address: entry.address,
        bytes: entry.size,
        access: ACCESS[entry.dir] ?? 'both',
        kind: entry.kind,
        where: entry.where,
        since: 0,
      }
    );
  }

  // ---- the list of mappings

  function add(dev: Device, call: MappingCall, nents: number): Entry {
    const access = ACCESS[call.dir] ?? 'both';
    const handle = guard.map(dev.controller, call.address, call.size, access, call.kind, call.where);
    const checked = call.kind === 'dma_map_sg' || call.kind === 'dma_alloc_coherent';
    const { kind, address, cpu, size, dir, where } = call;
    const entry: Entry = {
      kind,
      address,
      cpu,
      size,
      dir,
      where,
      handle,
      nents,
      checked,
      device: dev.name,
      access,
      writeFirst: false,
      cpuFrom: 0,
      cpuTo: 0,
      staleFrom: 0,
      staleTo: 0,
      wrote: false,
      told: 0,
    };
    beginningAt(dev, call.address).push(entry);
    if (call.kind !== 'dma_alloc_coherent') {
      noteOverlaps(dev, entry);
      owners?.take(entry);
      if (k.pins !== null && dir !== DMA_TO_DEVICE) checkPins(entry, k.pins);
    }
    if (call.address + call.size - 1 > dev.reach) {
      report('map-mask', dev, call, `mapped beyond the ${bitsOf(dev)} address lines of the device`, entry);
    }
    return entry;
  }

  /** A piece of a scatter list against what the device takes. The last one may end anywhere. */
  function checkSegment(dev: Device, entry: Entry, last: boolean): void {
    const { address, size } = entry;
    if (size > dev.max_segment_size) {
      report(
        'seg-length',
        dev,
        entry,
        `a segment longer than the ${dev.max_segment_size} bytes that the device takes`,
        entry,
      );
    }
    const unit = dev.segment_boundary_mask + 1;
    if ((address % unit) + size > unit) {
      report('seg-boundary', dev, entry, `a segment crosses a multiple of ${hex(unit)}`, entry);
    }
    const { alignment } = dev;
    if (address % alignment !== 0 || (!last && size % alignment !== 0)) {
      report('seg-align', dev, entry, `a segment is not aligned to ${alignment} bytes`, entry);
    }
  }

  function checkPins(entry: Entry, pins: PinDebug): void {
    for (let at = entry.cpu - (entry.cpu % PAGE_SIZE); at < endOf(entry); at += PAGE_SIZE) {
      const page = k.frames.physToPage(at);
      if (page !== null && pins.isReadOnly(page)) pins.mappedToWrite(page, mappingOf(entry));
    }
  }

  /** Tells of the pages that the device has written. */
  function noteWritten(entry: Entry, pins: PinDebug): void {
    if (entry.dir === DMA_TO_DEVICE || !guard.hasWritten(entry.handle)) return;
    for (let at = entry.cpu - (entry.cpu % PAGE_SIZE); at < endOf(entry); at += PAGE_SIZE) {
      const page = k.frames.physToPage(at);
      if (page !== null) pins.deviceWrote(page, mappingOf(entry));
    }
  }

  function remove(dev: Device, entry: Entry): void {
    if (k.pins !== null) noteWritten(entry, k.pins);
    take(beginningAt(dev, entry.address), entry);
    guard.unmap(entry.handle);
    if (entry.kind === 'dma_alloc_coherent') return;
    owners?.giveBack(entry);
    const last = lastPfn(entry);
    for (let pfn = firstPfn(entry); pfn <= last; pfn++) take(listAt(pages, pfn), entry);
  }

  /**
   * The mapping that a call means: one that agrees in everything, else the one that agrees most, else null. Two that
   * agree equally well are not guessed between: null.
   */
  function find(dev: Device, call: MappingCall, nents: number): Entry | null {
    let best: Entry | null = null;
    let level = -1;
    let count = 0;
    for (const entry of beginningAt(dev, call.address)) {
      if (entry.address !== call.address) continue;
      count++;
      const agrees =
        Number(entry.size === call.size) +
        Number(entry.kind === call.kind) +
        Number(entry.dir === call.dir) +
        Number(entry.nents === nents);
      if (agrees === 4) return entry;
      if (agrees > level) {
        best = entry;
        level = agrees;
      }
    }
    return count === 1 ? best : null;
  }

  /** The mapping that holds an address, wherever it begins. */
  function holding(dev: Device, address: number): Entry | null {
    for (const list of watchedOf(dev).entries.values()) {
      for (const entry of list) {
        if (entry.address <= address && address < entry.address + entry.size) return entry;
      }
    }
    return null;
  }

  // ---- mappings that share memory

  function noteOverlaps(dev: Device, entry: Entry): void {
    let conflict: Entry | null = null;
    let writers = 0;
    const last = lastPfn(entry);
    for (let pfn = firstPfn(entry); pfn <= last; pfn++) {
      const list = listAt(pages, pfn);
      if (list.length > 0) {
        conflict ??= list.find((other) => other.dir !== entry.dir && shareLine(other, entry)) ?? null;
        writers = Math.max(writers, deepest(list, entry));
      }
      list.push(entry);
    }
    if (conflict !== null) {
      const what = `mapped ${name(entry.dir)} while a cache line of it is mapped ${name(conflict.dir)}`;
      report('map-overlap', dev, entry, what, conflict);
    }
    if (entry.dir !== DMA_TO_DEVICE && writers > MAX_OVERLAP) {
      report('map-overlap', dev, entry, `more than ${MAX_OVERLAP} mappings share a cache line`, entry);
    }
  }

  /** How many mappings that the device writes share one cache line with `entry`, at most. */
  function deepest(list: readonly Entry[], entry: Entry): number {
    const near = list.filter((other) => other.dir !== DMA_TO_DEVICE && shareLine(other, entry));
    let deepest = 0;
    for (const { cpu } of near) {
      const line = Math.max(lineOf(cpu), lineOf(entry.cpu));
      deepest = Math.max(deepest, near.filter((other) => holdsLine(other, line)).length);
    }
    return deepest;
  }

  // ---- single calls

  function checkAgreement(dev: Device, call: MappingCall, nents: number, entry: Entry): void {
    const made = `it was made by ${entry.kind}`;
    if (entry.size !== call.size)
      report('map-size', dev, call, `unmap of a mapping of ${entry.size} bytes`, entry);
    if (entry.kind !== call.kind) {
      report('map-kind', dev, call, `unmap by the counterpart of ${call.kind}, but ${made}`, entry);
    } else if (entry.kind === 'dma_alloc_coherent' && entry.cpu !== call.cpu) {
      report(
        'coherent-free',
        dev,
        call,
        `free with CPU address ${hex(call.cpu)}, not ${hex(entry.cpu)}`,
        entry,
      );
    }
    if (nents !== 0 && entry.nents !== 0 && entry.nents !== nents) {
      report('map-nents', dev, call, `unmap of ${nents} entries, mapped were ${entry.nents}`, entry);
    }
    if (entry.dir !== call.dir) {
      report('map-direction', dev, call, `unmap ${name(call.dir)}, mapped was ${name(entry.dir)}`, entry);
    }
    if (!entry.checked)
      report('map-error-unchecked', dev, call, 'nobody asked whether the mapping failed', entry);
  }

  /** Whether an entry names other memory than when it was mapped. */
  function changed(sg: Scatterlist, entry: Entry): boolean {
    return sg.length !== entry.size || sg.page === null || sg.page.phys + sg.offset !== entry.cpu;
  }

  /** `first`: not a later entry of a list whose mistakes have been told. */
  function unmap(dev: Device, call: MappingCall, nents: number, first = true): Entry | null {
    const entry = find(dev, call, nents);
    if (entry !== null) {
      if (first) checkAgreement(dev, call, nents, entry);
      remove(dev, entry);
    } else if (isError(call.address)) {
      report('map-error-unmapped', dev, call, 'unmap of the address of a mapping that failed');
    } else {
      report('map-unknown', dev, call, 'unmap of what is not mapped');
    }
    return entry;
  }

  function isError(address: number): boolean {
    return address === 0 || address === k.swiotlb.swiotlb_overflow();
  }

  return {
    /** Is this memory that can be mapped? */
    check_memory(dev: Device, phys: number, size: number, dir: number, where: string): void {
      for (let at = phys - (phys % PAGE_SIZE); at < phys + size; at += PAGE_SIZE) {
        const page = k.frames.physToPage(at);
        let why: string | null = null;
        if (page === null) why = 'memory that is not there is mapped';
        else if ((page.flags & PG_reserved) !== 0) {
          if (dir !== DMA_TO_DEVICE) why = 'memory of the kernel itself is mapped for the device to write';
        } else if (k.bioKern.object_is_on_stack(at)) why = 'a stack of the kernel is mapped';
        else if (page.count === 0) why = 'memory that nobody has is mapped';
        if (why === null) continue;
        report('map-memory', dev, { address: phys, size, dir, where }, why);
        return;
      }
    },

    /** A single mapping, or shared memory, was made. */
    mapped(dev: Device, call: MappingCall): void {
      if (!isError(call.address)) add(dev, call, 0);
    },

    mapped_sg(dev: Device, sgl: Scatterlist, nents: number, dir: number, where: string): void {
      let sg: Scatterlist | null = sgl;
      for (let i = 0; i < nents && sg !== null; i++) {
        const cpu = k.scatterlist.sg_phys(sg);
        const call: MappingCall = {
          kind: 'dma_map_sg',
          address: sg.dma_address,
          cpu,
          size: sg.dma_length,
          dir,
          where,
        };
        const entry = add(dev, call, nents);
        checkSegment(dev, entry, i === nents - 1);
        if (i === 0 && nents > dev.max_segments) {
          const what = `a list of ${nents} segments, of which the device takes ${dev.max_segments}`;
          report('seg-count', dev, entry, what, entry);
        }
        sg = k.scatterlist.sg_next(sg);
      }
    },

    unmapped(dev: Device, call: MappingCall): void {
      unmap(dev, call, 0);
    },

    /** As many entries end as were mapped, however many the caller names. */
    unmapped_sg(dev: Device, sgl: Scatterlist, nents: number, dir: number, where: string): void {
      let sg: Scatterlist | null = sgl;
      let count = nents;
      for (let i = 0; i < count && sg !== null; i++) {
        const { dma_address: address, dma_length: size } = sg;
        const mapping: MappingCall = { kind: 'dma_map_sg', address, cpu: address, size, dir, where };
        if (i === 0) count = find(dev, mapping, nents)?.nents ?? nents;
        const entry = unmap(dev, mapping, nents, i === 0);
        if (entry !== null && changed(sg, entry)) {
          report('sg-init', dev, mapping, `entry ${i} of the list was changed while it was mapped`, entry);
        }
        sg = sg.end ? null : k.scatterlist.sg_next(sg);
      }
    },

    /** DMA-08: one question settles one mapping of that address. */
    mapping_error(dev: Device, address: number): void {
      for (const entry of beginningAt(dev, address)) {
        if (entry.address !== address || entry.checked) continue;
        entry.checked = true;
        return;
      }
    },

    /** `nents`: entries of the call's scatter list, 0 for a single one. */
    synced(
      dev: Device,
      address: number,
      size: number,
      dir: number,
      nents: number,
      cpu: boolean,
      where: string,
    ): void {
      const call = { address, size, dir, where };
      const to = cpu ? 'for the CPU' : 'for the device';
      const entry = holding(dev, address);
      if (entry === null) {
        report('sync-unmapped', dev, call, `sync ${to} of what is not mapped`);
        return;
      }
      if (address + size > entry.address + entry.size) {
        report('sync-range', dev, call, `sync ${to} beyond the end of the mapping`, entry);
      }
      if (nents !== 0 && entry.nents !== 0 && entry.nents !== nents) {
        report('map-nents', dev, call, `sync of ${nents} entries, mapped were ${entry.nents}`, entry);
      }
      owners?.synced(entry, address, size, cpu);
      if (entry.dir === DMA_BIDIRECTIONAL || entry.dir === dir) return;
      report('map-direction', dev, call, `sync ${name(dir)}, mapped was ${name(entry.dir)}`, entry);
      const oneWay = cpu ? DMA_TO_DEVICE : DMA_FROM_DEVICE;
      if (entry.dir === oneWay) {
        report('sync-direction', dev, call, `sync ${to} of a mapping ${name(oneWay)}`, entry);
      }
    },

    /** The DMA layer copies, or has done so: that is not the CPU's doing. */
    copying(held: boolean): void {
      owners?.hold(held);
    },

    /** There was no room in the software I/O TLB. */
    exhausted(dev: Device, phys: number, size: number, dir: number, where: string): void {
      if (k.swiotlb.swiotlb_usage().slots === 0) return; // there is none: not a matter of room
      const call = { address: phys, size, dir, where };
      report('pool-exhausted', dev, call, 'the software I/O TLB has no room: the mapping fails');
    },

    /** Whether there is a device that has mapped anything and is not gone. */
    busy(): boolean {
      return devices.size > 0;
    },

    /** A mapping through which a device may write to a page. */
    writer(page: Page): Mapping | null {
      const entry = pages.get(page.pfn)?.find(({ dir }) => dir !== DMA_TO_DEVICE);
      return entry === undefined ? null : mappingOf(entry);
    },

    /** Memory is freed. */
    freed(address: number, bytes: number, what: string): void {
      owners?.freed(address, bytes, what);
    },

    /** A driver wrote an address into a descriptor that is too narrow for it. */
    narrowed(dev: Device, address: number, size: number, bits: number, where: string): void {
      const entry = holding(dev, address) ?? undefined;
      const call = { address, size, dir: entry?.dir ?? 0, where };
      report('map-mask', dev, call, `the address is cut to ${bits} bits`, entry);
    },

    /** The device goes; returns the mappings that are left, which go with it. */
    released(dev: Device): number {
      const watched = watchedOf(dev);
      const left = [...watched.entries.values()].flat();
      const [first] = left;
      if (first !== undefined) {
        report('map-leak', dev, { ...first, where: '' }, `${left.length} mappings left, the first`, first);
      }
      for (const entry of left) remove(dev, entry);
      devices.delete(dev);
      lastDevice = null;
      if (devices.size === 0) k.pins?.idle();
      return left.length;
    },
  };
}

function listAt(lists: Map<number, Entry[]>, key: number): Entry[] {
  let list = lists.get(key);
  if (list === undefined) {
    list = [];
    lists.set(key, list);
  }
  return list;
}

/** Takes an entry out of a list, wherever it stands; the order is not kept. */
function take(list: Entry[], entry: Entry): void {
  const at = list.indexOf(entry);
  if (at < 0) return;
  const last = list.pop();
  if (at < list.length && last !== undefined) list[at] = last;
}

function name(dir: number): string {
  return DIRECTION[dir] ?? `in direction ${dir}`;
}

function bitsOf(dev: Device): number {
  return dev.controller.profile.addressBits;
}

function holdsLine(entry: Entry, line: number): boolean {
  return lineOf(entry.cpu) <= line && line < endOf(entry);
}

function shareLine(a: Entry, b: Entry): boolean {
  return lineOf(a.cpu) < endOf(b) && lineOf(b.cpu) < endOf(a);
}
