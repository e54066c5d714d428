// The kernels that are compared, and where they may differ.

import { EACCES, EFAULT, EINVAL, EIO } from '../kernel/index.ts';
import { ENXIO } from '../solaris/index.ts';
import type { ComparedKernel } from './compare-side.ts';
import { bootLinuxHarness } from './linux.ts';
import { bootSolarisHarness } from './solaris.ts';

/**
 * SG_IO is one request: memory that cannot be mapped refuses all of it (-EINVAL, or -EFAULT when only copying back
 * fails), and sectors that do not exist are the device's to refuse.
 */
export const LINUX: ComparedKernel = {
  name: 'linux',
  boot: bootLinuxHarness,
  results: { memory: [-EINVAL, -EFAULT], medium: [-EIO], end: [-EIO] },
  progress: 'whole',
  triesAgain: false,
};

/**
 * A request is a buf for each range: those before the one that is refused are done, and those after one that failed may
 * be. What fails without sense data is sent again.
 */
export const SOLARIS: ComparedKernel = {
  name: 'solaris',
  boot: bootSolarisHarness,
  results: { memory: [-EACCES, -EFAULT], medium: [-EIO], end: [-EIO, -ENXIO] },
  progress: 'piecewise',
  triesAgain: true,
};

/** Every kernel, in the order of the table. */
export const COMPARED: readonly ComparedKernel[] = [LINUX, SOLARIS];
