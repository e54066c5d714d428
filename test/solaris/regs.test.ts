// Registers of controllers, memory for devices, and the configuration space, through access handles (ddi_get8(9F)).

import { PORT_STATUS } from '../../assembly/aha1542/regs.ts';
import { AHCI_CAP, AHCI_GHC } from '../../assembly/ahci/regs.ts';
import { type Controller, createMachine } from '../../src/machine/index.ts';
import {
  bootSolaris,
  DDI_DEV_AUTOINCR,
  DDI_DEV_NO_AUTOINCR,
  DDI_DMA_DONTWAIT,
  DDI_FAILURE,
  DDI_ME_REGSPEC_RANGE,
  DDI_ME_RNUMBER_RANGE,
  DDI_STRUCTURE_BE_ACC,
  DDI_STRUCTURE_LE_ACC,
  DDI_SUCCESS,
  type DdiAccHandle,
  type DdiDmaHandle,
  DevInfo,
  Pointer,
  type SolarisApi,
} from '../../src/solaris/index.ts';
import { assert, suite } from '../run/suite.ts';
import { ATTR, now } from './dma-rig.ts';
import { assertBug, inInterrupt, must } from './help.ts';

const test = suite('solaris registers');

interface Rig {
  readonly solaris: SolarisApi;
  readonly controller: Controller;
  readonly dip: DevInfo;
}

async function boot(kind = 'ahci'): Promise<Rig> {
  const machine = await createMachine({ ram: 'small', guard: false });
  const controller = machine.addController({ kind });
  return { solaris: bootSolaris(machine), controller, dip: new DevInfo(controller) };
}

const order = (devacc_attr_endian_flags: number) => {
  return { devacc_attr_version: 1, devacc_attr_endian_flags, devacc_attr_dataorder: 0 };
};

/** Sizes of the sets. */
function sizes({ solaris, dip }: Rig): number[] {
  const [count, size] = [new Pointer<number>(), new Pointer<number>()];
  assert.is(solaris.ddi_dev_nregs(dip, count), DDI_SUCCESS);
  assert.is(solaris.ddi_dev_regsize(dip, must(count.value), size), DDI_FAILURE);
  return Array.from({ length: must(count.value) }, (_, i) => {
    assert.is(solaris.ddi_dev_regsize(dip, i, size), DDI_SUCCESS);
    return must(size.value);
  });
}

/** Maps a set; its address and its handle. */
function map(r: Rig, rnumber: number, offset = 0, len = 0, endian = DDI_STRUCTURE_LE_ACC) {
  const [addrp, handlep] = [new Pointer<number>(), new Pointer<DdiAccHandle>()];
  const { ddi_regs_map_setup } = r.solaris;
  assert.is(ddi_regs_map_setup(r.dip, rnumber, addrp, offset, len, order(endian), handlep), DDI_SUCCESS);
  return { base: must(addrp.value), h: must(handlep.value), handlep };
}

/** Memory of a page and a half for devices. */
function memory(r: Rig, endian: number): { base: number; h: DdiAccHandle } {
  const { solaris, dip } = r;
  const dma = new Pointer<DdiDmaHandle>();
  now(solaris, solaris.ddi_dma_alloc_handle(dip, ATTR, DDI_DMA_DONTWAIT, null, dma));
  const [kaddr, real, acc] = [new Pointer<number>(), new Pointer<number>(), new Pointer<DdiAccHandle>()];
  const { ddi_dma_mem_alloc } = solaris;
  const handle = must(dma.value);
  now(solaris, ddi_dma_mem_alloc(handle, 6144, order(endian), 0, DDI_DMA_DONTWAIT, null, kaddr, real, acc));
  return { base: must(kaddr.value), h: must(acc.value) };
}

test('the sets are configuration space, BARs and fixed ports; on ISA the ports', async () => {
  assert.equal(sizes(await boot('ahci')).slice(0, 1), [256]);
  const ahci = await boot('ahci');
  assert.is(sizes(ahci).length, 1 + ahci.controller.bars().length);
  assert.equal(sizes(await boot('aha1542')), [4]);
  const piix = await boot('piix4');
  assert.equal(sizes(piix), [256, 16, 8, 1, 8, 1]);
});

test('a set is mapped whole or in part, and nothing beyond it', async () => {
  const r = await boot();
  const { solaris, controller, dip } = r;
  const abar = sizes(r).length - 1;
  const { base, h } = map(r, abar);
  assert.is(solaris.ddi_get32(h, base + AHCI_CAP), controller.read32(5, AHCI_CAP));
  const part = map(r, abar, 4, 8);
  assert.is(solaris.ddi_get32(part.h, part.base), controller.read32(5, 4));
  assertBug('acc-range', () => solaris.ddi_get32(part.h, part.base + 8));
  assertBug('acc-range', () => solaris.ddi_get32(part.h, part.base + 6));
  assertBug('acc-range', () => solaris.ddi_get8(part.h, part.base - 1));
  assertBug('acc-range', () => solaris.ddi_put8(h, part.base, 0));
  const setup = (rnumber: number, offset: number, len: number): number =>
    solaris.ddi_regs_map_setup(dip, rnumber, new Pointer(), offset, len, null, new Pointer());
  assert.is(setup(abar + 1, 0, 0), DDI_ME_RNUMBER_RANGE);
  assert.is(setup(0, 0, 257), DDI_ME_REGSPEC_RANGE);
  assert.is(setup(0, 256, 0), DDI_ME_REGSPEC_RANGE);
  assert.is(setup(0, -4, 8), DDI_ME_REGSPEC_RANGE);
  solaris.ddi_regs_map_free(part.handlep);
  assertBug('acc-freed', () => solaris.ddi_get32(part.h, part.base));
  assertBug('acc-freed', () => solaris.ddi_regs_map_free(part.handlep));
});

test('accesses have their size, and reach the controller; also in a high-level interrupt', async () => {
  const r = await boot();
  const { solaris, controller } = r;
  const { base, h } = map(r, sizes(r).length - 1);
  const before = controller.counters.registerWrites;
  inInterrupt(solaris, () => solaris.ddi_put32(h, base + AHCI_GHC, 0x80000002), 12);
  assert.is(controller.read32(5, AHCI_GHC), 0x80000002);
  assert.is(controller.counters.registerWrites, before + 1);
  assert.is(solaris.ddi_get16(h, base + AHCI_GHC), 2);
  assert.is(solaris.ddi_get8(h, base + AHCI_GHC + 3), 0x80);
  const wide = solaris.ddi_get64(h, base);
  assert.is(wide, BigInt(controller.read32(5, 4)) * 2n ** 32n + BigInt(controller.read32(5, 0)));
  const isa = await boot('aha1542');
  const ports = map(isa, 0);
  assert.is(isa.solaris.ddi_get8(ports.h, ports.base + PORT_STATUS), isa.controller.read8(0, PORT_STATUS));
});

test('the configuration space, for PCI alone', async () => {
  const r = await boot();
  const { solaris, controller, dip } = r;
  const handlep = new Pointer<DdiAccHandle>();
  assert.is(solaris.pci_config_setup(dip, handlep), DDI_SUCCESS);
  const h = must(handlep.value);
  assert.is(solaris.pci_config_get16(h, 0), 0x8086);
  assert.is(solaris.pci_config_get32(h, 0), controller.configRead(0, 4));
  assert.is(solaris.pci_config_get8(h, 0x0b), 1, 'mass storage');
  solaris.pci_config_put8(h, 0x3c, 7);
  assert.is(controller.configRead(0x3c, 1), 7);
  solaris.pci_config_put16(h, 4, 0);
  assert.is(controller.configRead(4, 2), 0);
  solaris.pci_config_put32(h, 4, 6);
  assert.is(solaris.pci_config_get16(h, 4), 6);
  const mapped = map(r, 0);
  assert.is(solaris.ddi_get16(mapped.h, mapped.base), 0x8086);
  solaris.pci_config_teardown(handlep);
  assertBug('acc-freed', () => solaris.pci_config_get8(h, 0));
  assertBug('acc-freed', () => solaris.pci_config_teardown(handlep));
  const isa = await boot('aha1542');
  assert.is(isa.solaris.pci_config_setup(isa.dip, handlep), DDI_FAILURE);
});

for (const [name, endian] of [
  ['little', DDI_STRUCTURE_LE_ACC],
  ['big', DDI_STRUCTURE_BE_ACC],
] as const) {
  test(`memory for devices: words of all sizes, ${name}-endian, over the end of a page, too`, async () => {
    const r = await boot();
    const { solaris } = r;
    const { base, h } = memory(r, endian);
    const bytes = (at: number, count: number): string => {
      const into = new Uint8Array(count);
      solaris.kernel.kas.read(at, into);
      const list = endian === DDI_STRUCTURE_LE_ACC ? into.slice().reverse() : into;
      return list.reduce((text, byte) => text + byte.toString(16).padStart(2, '0'), '');
    };
    for (const at of [base + 16, base + 4095, base + 4093]) {
      solaris.ddi_put16(h, at, 0x1234);
      assert.equal([solaris.ddi_get16(h, at), bytes(at, 2)], [0x1234, '1234']);
      solaris.ddi_put32(h, at, 0xfedcba98);
      assert.equal([solaris.ddi_get32(h, at), bytes(at, 4)], [0xfedcba98, 'fedcba98']);
      solaris.ddi_put32(h, at, -2);
      assert.is(solaris.ddi_get32(h, at), 0xfffffffe);
      solaris.ddi_put64(h, at, 0x123456789abcdef0n);
      assert.equal([solaris.ddi_get64(h, at), bytes(at, 8)], [0x123456789abcdef0n, '123456789abcdef0']);
      solaris.ddi_put8(h, at, 0x177);
      assert.is(solaris.ddi_get8(h, at), 0x77);
    }
    assertBug('acc-range', () => solaris.ddi_get8(h, base + 8192));
  });
}

test('repeated forms go through memory, or stay at one register', async () => {
  const r = await boot();
  const { solaris } = r;
  const { base, h } = memory(r, DDI_STRUCTURE_LE_ACC);
  solaris.ddi_rep_put8(h, Uint8Array.of(1, 2, 3, 4), base, 4, DDI_DEV_AUTOINCR);
  assert.is(solaris.ddi_get32(h, base), 0x04030201);
  solaris.ddi_rep_put8(h, Uint8Array.of(7, 8, 9), base, 3, DDI_DEV_NO_AUTOINCR);
  assert.is(solaris.ddi_get32(h, base), 0x04030209);
  const words = new Uint16Array(2);
  solaris.ddi_rep_get16(h, words, base, 2, DDI_DEV_AUTOINCR);
  assert.equal([...words], [0x0209, 0x0403]);
  solaris.ddi_rep_get16(h, words, base, 2, DDI_DEV_NO_AUTOINCR);
  assert.equal([...words], [0x0209, 0x0209]);
  solaris.ddi_rep_put16(h, Uint16Array.of(0x1111, 0x2222), base + 8, 2, DDI_DEV_AUTOINCR);
  solaris.ddi_rep_put32(h, Uint32Array.of(0x33333333), base + 12, 1, DDI_DEV_AUTOINCR);
  const quads = new BigUint64Array(1);
  solaris.ddi_rep_get64(h, quads, base + 8, 1, DDI_DEV_AUTOINCR);
  assert.equal([...quads], [0x3333333322221111n]);
  solaris.ddi_rep_put64(h, BigUint64Array.of(5n, 2n ** 63n), base + 16, 2, DDI_DEV_AUTOINCR);
  const longs = new Uint32Array(4);
  solaris.ddi_rep_get32(h, longs, base + 16, 4, DDI_DEV_AUTOINCR);
  assert.equal([...longs], [5, 0, 0, 0x80000000]);
  const single = new Uint8Array(2);
  solaris.ddi_rep_get8(h, single, base + 8, 2, DDI_DEV_AUTOINCR);
  assert.equal([...single], [0x11, 0x11]);
  for (const beyond of [
    () => solaris.ddi_rep_get8(h, single, base, 3, DDI_DEV_AUTOINCR),
    () => solaris.ddi_rep_put64(h, quads, base, 2, DDI_DEV_NO_AUTOINCR),
  ])
    assert.throws(beyond, /acc-range.*repcount is \d, and host_addr has [12] units/);
});
