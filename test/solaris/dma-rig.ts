// What tests of DMA bindings share: memory at chosen physical addresses, and what a binding looks like.

import { PAGE_SIZE, type Page, type Sleeps } from '../../src/kernel/index.ts';
import { createMachine, type RamRegion } from '../../src/machine/index.ts';
import {
  B_PAGEIO,
  B_READ,
  B_WRITE,
  type Buf,
  bootSolaris,
  DDI_DMA_DONTWAIT,
  DDI_DMA_PARTIAL,
  DDI_DMA_WRITE,
  DDI_SUCCESS,
  type DdiDmaAttr,
  DdiDmaCookie,
  type DdiDmaHandle,
  DevInfo,
  KM_NOSLEEP,
  PageListPtr,
  Pointer,
  type SolarisApi,
  type SolarisOptions,
} from '../../src/solaris/index.ts';
import { assert } from '../run/suite.ts';

export const NO_LIMIT = 2 ** 64 - 1;
export const GIB4 = 2 ** 32;

/** The attributes of a device with 32 lines and no other limits. */
export const ATTR: DdiDmaAttr = {
  dma_attr_version: 0,
  dma_attr_addr_lo: 0,
  dma_attr_addr_hi: 0xffffffff,
  dma_attr_count_max: 0xffffffff,
  dma_attr_align: 1,
  dma_attr_burstsizes: 0x7f,
  dma_attr_minxfer: 1,
  dma_attr_maxxfer: 0xffffffff,
  dma_attr_seg: 0xffffffff,
  dma_attr_sgllen: -1,
  dma_attr_granular: 1,
  dma_attr_flags: 0,
};

/** The same with some of the limits, named without their prefix. */
export function attr(limits: { readonly [name: string]: number } = {}): DdiDmaAttr {
  const named = Object.entries(limits).map(([name, value]) => [`dma_attr_${name}`, value]);
  return { ...ATTR, ...Object.fromEntries(named) };
}

/** `count` pages that follow each other. */
export function run(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => first + i * PAGE_SIZE);
}

/** `count` pages that do not. */
export function apart(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => first + 2 * i * PAGE_SIZE);
}

/** Unreachable with 32 lines. */
export function high(count: number): number[] {
  return apart(GIB4, count);
}

const LOW: RamRegion = { base: 0, bytes: 0x200000 };

/** One region from the first to the last of pages that are near each other. */
function regionsOf(pages: readonly number[]): RamRegion[] {
  const regions: { base: number; bytes: number }[] = [{ ...LOW }];
  for (const page of [...pages].sort((a, b) => a - b)) {
    const last = regions.at(-1);
    if (last !== undefined && page < last.base + last.bytes) continue;
    if (last !== undefined && page - last.base - last.bytes <= 2 * PAGE_SIZE)
      last.bytes = page + PAGE_SIZE - last.base;
    else regions.push({ base: page, bytes: PAGE_SIZE });
  }
  return regions;
}

export interface Rig {
  readonly solaris: SolarisApi;
  readonly dip: DevInfo;
  readonly handle: DdiDmaHandle;
  readonly pages: readonly Page[];
  /** Over all pages, from `offset` on. */
  readonly buf: Buf;
  readonly memory: SolarisApi['kernel']['memory'];
}

export interface RigOptions {
  /** Addresses of the pages of the buf, in its order. */
  readonly pages: readonly number[];
  readonly offset?: number;
  /** Default: up to the end of the last page. */
  readonly length?: number;
  readonly attr?: { readonly [name: string]: number };
  readonly options?: SolarisOptions;
  readonly guard?: boolean;
  /** Default B_WRITE. */
  readonly read?: boolean;
  /** The controller's profile; default ahci. */
  readonly kind?: string;
}

/** A kernel on a machine with these pages (which the allocator does not have), a handle, and a buf over the pages. */
export async function rig(of: RigOptions): Promise<Rig> {
  const machine = await createMachine({
    ram: regionsOf(of.pages),
    guard: of.guard ?? false,
    diskBytes: 65536,
  });
  const controller = machine.addController({ kind: of.kind ?? 'ahci' });
  const solaris = bootSolaris(machine, of.options);
  const { frames, allocator } = solaris.kernel;
  for (const page of frames.pages) if (page.phys >= LOW.bytes) allocator.withdraw(page);
  const pages = of.pages.map((phys) => frames.physToPage(phys) as Page);
  const dip = new DevInfo(controller, 'test');
  const offset = of.offset ?? 0;
  const buf = now(solaris, solaris.getrbuf(KM_NOSLEEP)) as Buf;
  buf.b_flags |= B_PAGEIO | (of.read === true ? B_READ : B_WRITE);
  buf.b_pages = new PageListPtr(pages);
  buf.b_un.b_addr = offset;
  buf.b_bcount = of.length ?? pages.length * PAGE_SIZE - offset;
  return { solaris, dip, handle: alloc(solaris, dip, attr(of.attr)), pages, buf, memory: machine.memory };
}

/** Runs what does not have to sleep. */
export function now<T>(solaris: SolarisApi, sleeps: Sleeps<T>): T {
  return solaris.kernel.scheduler.atomic(sleeps);
}

export function alloc(solaris: SolarisApi, dip: DevInfo, of: DdiDmaAttr): DdiDmaHandle {
  const handlep = new Pointer<DdiDmaHandle>();
  assert.is(
    now(solaris, solaris.ddi_dma_alloc_handle(dip, of, DDI_DMA_DONTWAIT, null, handlep)),
    DDI_SUCCESS,
  );
  return handlep.value as DdiDmaHandle;
}

/** Binds the buf of the rig; the code. */
export function bind(r: Rig, flags = DDI_DMA_WRITE): number {
  return now(
    r.solaris,
    r.solaris.ddi_dma_buf_bind_handle(r.handle, r.buf, flags, DDI_DMA_DONTWAIT, null, null, null),
  );
}

export const bindPartial = (r: Rig, flags = DDI_DMA_WRITE): number => bind(r, flags | DDI_DMA_PARTIAL);

const hex = (value: number): string => `0x${value.toString(16)}`;

/** `0x10000000/0x4000`, or `CB0+0x100/0xf00` for the copy buffer's first page. */
function nameOf(r: Rig, { dmac_laddress, dmac_size }: DdiDmaCookie): string {
  const offset = dmac_laddress % PAGE_SIZE;
  const slot = (r.handle.binding?.copies ?? []).findIndex(({ phys }) => phys === dmac_laddress - offset);
  const at = slot < 0 ? hex(dmac_laddress) : `CB${slot}${offset === 0 ? '' : `+${hex(offset)}`}`;
  return `${at}/${hex(dmac_size)}`;
}

/** The cookies of the current window, as ddi_dma_nextcookie() gives them after the first. */
export function cookies(r: Rig, first: DdiDmaCookie, count: number): string {
  const names: string[] = [];
  const cookie = new DdiDmaCookie();
  cookie.dmac_laddress = first.dmac_laddress;
  cookie.dmac_size = first.dmac_size;
  for (let i = 0; i < count; i++) {
    if (i > 0) r.solaris.ddi_dma_nextcookie(r.handle, cookie);
    names.push(nameOf(r, cookie));
  }
  return names.join(' ');
}

/** Binds the buf of the rig; the code and the cookies of the first window. */
export function bindCookies(r: Rig, flags = DDI_DMA_WRITE): { code: number; cookies: string } {
  const cookie = new DdiDmaCookie();
  const count = new Pointer<number>();
  const { ddi_dma_buf_bind_handle } = r.solaris;
  const code = now(
    r.solaris,
    ddi_dma_buf_bind_handle(r.handle, r.buf, flags, DDI_DMA_DONTWAIT, null, cookie, count),
  );
  return { code, cookies: code < 0 ? '' : cookies(r, cookie, count.value ?? 0) };
}

/** Makes a window current; where it is and its cookies, null when there is none. */
export function getwin(r: Rig, win: number): string | null {
  const [offp, lenp, countp] = [new Pointer<number>(), new Pointer<number>(), new Pointer<number>()];
  const cookie = new DdiDmaCookie();
  if (r.solaris.ddi_dma_getwin(r.handle, win, offp, lenp, cookie, countp) !== DDI_SUCCESS) return null;
  const list = cookies(r, cookie, countp.value ?? 0);
  return `${hex(offp.value ?? -1)},${hex(lenp.value ?? -1)}: ${list}`;
}

/** All windows of a binding, in order. */
export function windows(r: Rig): string[] {
  const nwin = new Pointer<number>();
  assert.is(r.solaris.ddi_dma_numwin(r.handle, nwin), DDI_SUCCESS);
  return Array.from({ length: nwin.value ?? 0 }, (_, i) => getwin(r, i) ?? 'none');
}
