// Faults of DMA (ddi_check_dma_handle(9F), ddi_fm_dma_err_get(9F)), and attributes of two that hold at once.

import { attachDriver } from '../../src/drivers/index.ts';
import {
  DDI_DMA_FLAGERR,
  DDI_FAILURE,
  DDI_FM_NONFATAL,
  DDI_FM_OK,
  DDI_FME_VERSION,
  DDI_SUCCESS,
} from '../../src/solaris/index.ts';
import { makeRunner, TestCommand, TestHost } from '../drivers/host.ts';
import { assert, suite } from '../run/suite.ts';
import { alloc, apart, attr, rig } from './dma-rig.ts';
import { assertBug } from './help.ts';

const test = suite('solaris dma faults');

test('HDL-05 DDI_DMA_FLAGERR: an access of the device that meets no memory is seen, until it is cleared', async () => {
  const r = await rig({ pages: apart(0x400000, 1) });
  const { solaris, dip, machine } = { ...r, machine: r.solaris.kernel.machine };
  const { controller } = dip;
  const medium = machine.addDisk({ bytes: 65536 });
  controller.attach(medium, 0);
  const driver = attachDriver(new TestHost(machine, controller, 0x100000));
  const runner = makeRunner(machine, controller, driver, false);
  const plain = alloc(solaris, dip, attr());
  const flagged = alloc(solaris, dip, attr({ flags: DDI_DMA_FLAGERR }));
  const look = (): unknown[] => {
    const de = { fme_version: 0, fme_status: 0 };
    solaris.ddi_fm_dma_err_get(flagged, de, DDI_FME_VERSION);
    return [solaris.ddi_check_dma_handle(plain), solaris.ddi_check_dma_handle(flagged), de.fme_status];
  };
  const read = (address: number): void => {
    const command = new TestCommand({ op: 'read', lba: 0, sectors: 1, direction: 'read' });
    command.setSegments([{ address, bytes: 512 }]);
    runner.run(command);
  };
  read(0x400000);
  assert.equal(look(), [DDI_SUCCESS, DDI_SUCCESS, DDI_FM_OK]);
  read(0x90000000);
  assert.equal(look(), [DDI_SUCCESS, DDI_FAILURE, DDI_FM_NONFATAL]);
  solaris.ddi_fm_dma_err_clear(flagged, DDI_FME_VERSION);
  assert.equal(look(), [DDI_SUCCESS, DDI_SUCCESS, DDI_FM_OK]);
  assert.is(solaris.ddi_check_dma_handle(alloc(solaris, dip, attr({ flags: DDI_DMA_FLAGERR }))), DDI_SUCCESS);
  assertBug('fme-version', () => solaris.ddi_fm_dma_err_clear(flagged, 9));
});

test('ddi_dma_attr_merge takes the narrower of each limit', async () => {
  const { solaris } = await rig({ pages: apart(0x400000, 1) });
  const one = attr({
    addr_lo: 16,
    addr_hi: 0xffffff,
    align: 4,
    burstsizes: 0x7,
    minxfer: 2,
    sgllen: -1,
    seg: 0xffff,
  });
  const two = attr({
    addr_hi: 0x7fffffff,
    count_max: 0xffff,
    align: 512,
    burstsizes: 0xe,
    maxxfer: 65536,
    sgllen: 17,
    granular: 512,
  });
  const both = attr({
    addr_lo: 16,
    addr_hi: 0xffffff,
    count_max: 0xffff,
    align: 512,
    burstsizes: 6,
    minxfer: 2,
    maxxfer: 65536,
    seg: 0xffff,
    sgllen: 17,
    granular: 512,
  });
  assert.equal(solaris.ddi_dma_attr_merge(one, two), both);
  assert.equal(solaris.ddi_dma_attr_merge(two, one), both);
  assert.is(solaris.ddi_dma_attr_merge(one, one).dma_attr_sgllen, -1);
});
