// Whose memory it is, and what a device takes of a scatter list: for each rule the program that makes the mistake, which
// is reported with all that is known of it, and its twin that does it right and is silent.

import type { Access, Finding, Rule } from '../../src/guard/index.ts';
import { PAGE_SIZE, type Page } from '../../src/kernel/index.ts';
import {
  DMA_BIDIRECTIONAL,
  DMA_FROM_DEVICE,
  DMA_TO_DEVICE,
  GFP_KERNEL,
  type LinuxOptions,
  type Scatterlist,
} from '../../src/linux/index.ts';
import { assert, suite } from '../run/suite.ts';
import { boot, HERE, type Rig } from './rig.ts';

const test = suite('guard own');

interface Expected {
  readonly from?: number;
  readonly length: number;
  readonly direction: Access;
  readonly device?: string;
}

/** The mistake is one finding with these fields, made HERE, the twin none. */
function pair(
  rule: Rule,
  what: string,
  mistake: (rig: Rig) => void,
  expected: Expected,
  twin: (rig: Rig) => void,
  options: { readonly kind?: string; readonly linux?: LinuxOptions } = {},
): void {
  test(`${rule} ${what}`, async () => {
    const rig = await boot(options.kind, options.linux);
    mistake(rig);
    const found = rig.machine.guard.findings();
    assert.equal(
      found.map((finding) => finding.rule),
      [rule],
    );
    const [finding] = found as [Finding];
    assert.is(finding.device, expected.device ?? 'probe');
    assert.is(finding.address, rig.at + (expected.from ?? 0));
    assert.equal([finding.length, finding.direction], [expected.length, expected.direction]);
    assert.is(finding.mapping?.where, HERE);
  });
  test(`${rule} the twin of: ${what}`, async () => {
    const rig = await boot(options.kind, options.linux);
    twin(rig);
    assert.equal(rig.machine.guard.findings(), []);
  });
}

pair(
  'own-cpu',
  'the CPU fills a buffer that the device reads already',
  ({ page, map, linux }) => {
    const buffer = page();
    map(buffer, 1024, DMA_TO_DEVICE);
    linux.kernel.memory.write32(buffer.phys + 1000, 7);
  },
  { from: 1000, length: 4, direction: 'read' },
  ({ page, map, linux, dev }) => {
    const buffer = page();
    linux.kernel.memory.write32(buffer.phys + 1000, 7);
    const addr = map(buffer, 1024, DMA_TO_DEVICE);
    assert.is(linux.kernel.memory.read32(buffer.phys + 1000), 7); // both may read
    linux.kernel.memory.write32(buffer.phys + 1024, 7); // a neighbour in the page
    linux.dma_unmap_page(dev, addr, 1024, DMA_TO_DEVICE);
    linux.kernel.memory.write32(buffer.phys + 1000, 8);
  },
);

pair(
  'own-cpu',
  'the CPU looks for data before the device has written any',
  ({ page, map, linux }) => {
    const buffer = page();
    map(buffer, 512, DMA_FROM_DEVICE);
    for (let i = 0; i < 3; i++) linux.kernel.memory.read8(buffer.phys + 8); // told once
  },
  { from: 8, length: 1, direction: 'write' },
  ({ page, map, linux, dev, transfer }) => {
    const buffer = page();
    const addr = map(buffer, 512, DMA_FROM_DEVICE);
    transfer('read', addr, 512);
    linux.dma_unmap_page(dev, addr, 512, DMA_FROM_DEVICE);
    linux.kernel.memory.read8(buffer.phys + 8);
  },
);

pair(
  'own-cpu',
  'the CPU copies into the second page of a buffer that the device has',
  (rig) => {
    const { linux, map, page } = rig;
    const source = page();
    const pages = linux.kernel.allocator.alloc({ order: 1, zero: true, below: 2 ** 24 }) as Page;
    rig.at = pages.phys;
    map(pages, 2 * PAGE_SIZE, DMA_BIDIRECTIONAL);
    linux.kernel.memory.copy(pages.phys + PAGE_SIZE - 4, source.phys, 8);
  },
  { from: PAGE_SIZE - 4, length: 8, direction: 'both' },
  ({ map, linux, page, dev }) => {
    const pages = linux.kernel.allocator.alloc({ order: 1, zero: true, below: 2 ** 24 }) as Page;
    const source = page();
    const addr = map(pages, 2 * PAGE_SIZE, DMA_BIDIRECTIONAL);
    linux.dma_sync_single_for_cpu(dev, addr, 2 * PAGE_SIZE, DMA_BIDIRECTIONAL);
    linux.kernel.memory.copy(pages.phys + PAGE_SIZE - 4, source.phys, 8);
    linux.dma_sync_single_for_device(dev, addr, 2 * PAGE_SIZE, DMA_BIDIRECTIONAL);
  },
);

pair(
  'sync-missing',
  'the CPU reads what the device wrote without a sync',
  ({ page, map, linux, transfer }) => {
    const buffer = page();
    const addr = map(buffer, 1024, DMA_FROM_DEVICE);
    transfer('read', addr, 512);
    linux.kernel.memory.readBytes(buffer.phys + 100, 10);
  },
  { from: 100, length: 10, direction: 'write' },
  ({ page, map, linux, dev, transfer }) => {
    const buffer = page();
    const addr = map(buffer, 1024, DMA_FROM_DEVICE);
    transfer('read', addr, 512);
    linux.dma_sync_single_for_cpu(dev, addr, 512, DMA_FROM_DEVICE);
    linux.kernel.memory.readBytes(buffer.phys + 100, 10);
    transfer('read', addr, 512); // nothing was written: there is nothing to sync for the device
    linux.dma_sync_single_range_for_cpu(dev, addr, 100, 10, DMA_FROM_DEVICE);
    linux.kernel.memory.readBytes(buffer.phys + 100, 10);
  },
);

pair(
  'sync-missing',
  'the device reads what the CPU wrote without a sync',
  ({ page, map, linux, dev, transfer }) => {
    const buffer = page();
    const addr = map(buffer, 1024, DMA_TO_DEVICE);
    transfer('write', addr, 512);
    linux.dma_sync_single_for_cpu(dev, addr, 1024, DMA_TO_DEVICE);
    linux.kernel.memory.fill(buffer.phys + 8, 1, 16);
    transfer('write', addr, 512);
  },
  { from: 8, length: 16, direction: 'read', device: 'ahci.0' },
  ({ page, map, linux, dev, transfer }) => {
    const buffer = page();
    const addr = map(buffer, 1024, DMA_BIDIRECTIONAL);
    transfer('write', addr, 512);
    linux.dma_sync_single_for_cpu(dev, addr, 1024, DMA_BIDIRECTIONAL);
    linux.kernel.memory.fill(buffer.phys + 600, 1, 16);
    transfer('write', addr, 512); // other bytes of the same mapping
    linux.dma_sync_single_for_device(dev, addr, 1024, DMA_BIDIRECTIONAL);
    transfer('write', addr, 1024);
  },
);

test('sync-missing what bounces is copied by the DMA layer, which owns nothing', async () => {
  const rig = await boot('ahci', { swiotlb: { bytes: 65536, force: true } });
  const { linux, dev, machine, page, map, transfer } = rig;
  const buffer = page();
  const addr = map(buffer, 512, DMA_BIDIRECTIONAL);
  assert.is.not(addr, buffer.phys);
  transfer('write', addr, 512);
  linux.dma_sync_single_for_cpu(dev, addr, 512, DMA_BIDIRECTIONAL);
  linux.kernel.memory.fill(buffer.phys, 1, 512);
  linux.dma_sync_single_for_device(dev, addr, 512, DMA_BIDIRECTIONAL);
  transfer('write', addr, 512);
  linux.dma_sync_single_for_cpu(dev, addr, 512, DMA_BIDIRECTIONAL);
  linux.dma_unmap_page(dev, addr, 512, DMA_BIDIRECTIONAL);
  assert.equal(machine.guard.findings(), []);
});

pair(
  'free-mapped',
  'a page is freed while the device has it',
  ({ page, map, linux }) => {
    const buffer = page();
    map(buffer, 512, DMA_FROM_DEVICE);
    linux.__free_pages(buffer, 0);
  },
  { length: 512, direction: 'write' },
  ({ page, map, linux, dev }) => {
    const buffer = page();
    const addr = map(buffer, 512, DMA_FROM_DEVICE);
    linux.dma_unmap_page(dev, addr, 512, DMA_FROM_DEVICE);
    linux.__free_pages(buffer, 0);
  },
);

pair(
  'free-mapped',
  'memory of kmalloc() is freed while the device has it',
  (rig) => {
    const { linux, dev } = rig;
    rig.at = linux.kmalloc_now(64, GFP_KERNEL) ?? 0;
    const addr = linux.dma_map_single(dev, rig.at, 64, DMA_TO_DEVICE, HERE);
    linux.dma_mapping_error(dev, addr);
    linux.kfree(rig.at);
  },
  { length: 64, direction: 'read' },
  ({ linux, dev }) => {
    const [mine, neighbour] = [linux.kmalloc_now(64, GFP_KERNEL) ?? 0, linux.kmalloc_now(64, GFP_KERNEL)];
    const addr = linux.dma_map_single(dev, mine, 64, DMA_TO_DEVICE, HERE);
    linux.dma_mapping_error(dev, addr);
    linux.kfree(neighbour);
    linux.dma_unmap_single(dev, addr, 64, DMA_TO_DEVICE);
    linux.kfree(mine);
  },
);

// ---- scatter lists

/** Maps a list of pieces of a page, each of them [offset, bytes]. */
function mapList(rig: Rig, page: Page, ...pieces: [number, number][]): Scatterlist {
  const { linux, dev } = rig;
  const { sgl } = linux.sg_alloc_table(pieces.length);
  let i = 0;
  for (const sg of linux.for_each_sg(sgl, pieces.length)) {
    const [offset, bytes] = pieces[i++] ?? [0, 0];
    linux.sg_set_page(sg, page, bytes, offset);
  }
  linux.dma_map_sg(dev, sgl, pieces.length, DMA_TO_DEVICE, HERE);
  return sgl;
}

function unmapList({ linux, dev }: Rig, sgl: Scatterlist): void {
  linux.dma_unmap_sg(dev, sgl, linux.sg_nents(sgl), DMA_TO_DEVICE);
}

pair(
  'seg-length',
  'a segment longer than the driver said',
  (rig) => {
    rig.linux.dma_set_max_seg_size(rig.dev, 512);
    mapList(rig, rig.page(), [0, 512], [512, 514]);
  },
  { from: 512, length: 514, direction: 'read' },
  (rig) => {
    rig.linux.dma_set_max_seg_size(rig.dev, 512);
    unmapList(rig, mapList(rig, rig.page(), [0, 512], [512, 512]));
  },
);

pair(
  'seg-boundary',
  'a segment crosses the boundary that the driver said',
  (rig) => {
    rig.linux.dma_set_seg_boundary(rig.dev, 1023);
    mapList(rig, rig.page(), [512, 512], [1536, 514]);
  },
  { from: 1536, length: 514, direction: 'read' },
  (rig) => {
    rig.linux.dma_set_seg_boundary(rig.dev, 1023);
    unmapList(rig, mapList(rig, rig.page(), [512, 512], [1536, 512], [2048, 1024]));
  },
);

pair(
  'seg-align',
  'a segment at an odd address for a board that drives even ones',
  (rig) => {
    mapList(rig, rig.page(), [0, 512], [1025, 512]);
  },
  { from: 1025, length: 512, direction: 'read' },
  (rig) => unmapList(rig, mapList(rig, rig.page(), [0, 512], [1026, 511])),
);

pair(
  'seg-count',
  'more segments than the board has room for',
  (rig) => {
    mapList(rig, rig.page(), ...Array.from({ length: 18 }, (_, i): [number, number] => [i * 64, 64]));
  },
  { length: 64, direction: 'read' },
  (rig) => {
    const pieces = Array.from({ length: 17 }, (_, i): [number, number] => [i * 64, 64]);
    unmapList(rig, mapList(rig, rig.page(), ...pieces));
  },
  { kind: 'aha1542' },
);

pair(
  'sg-init',
  'an entry is set to other memory while the list is mapped',
  (rig) => {
    const page = rig.page();
    const sgl = mapList(rig, page, [0, 512], [1024, 512]);
    const second = rig.linux.sg_next(sgl);
    if (second !== null) rig.linux.sg_set_page(second, page, 512, 2048);
    unmapList(rig, sgl);
  },
  { from: 1024, length: 512, direction: 'read' },
  (rig) => {
    const page = rig.page();
    const sgl = mapList(rig, page, [0, 512], [1024, 512]);
    unmapList(rig, sgl);
    const second = rig.linux.sg_next(sgl);
    if (second !== null) rig.linux.sg_set_page(second, page, 512, 2048);
  },
);
