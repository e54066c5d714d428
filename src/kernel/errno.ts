// Error numbers that Linux and Solaris share. The kernel base returns them negated, as Linux does.

export const EIO = 5;
export const ENOMEM = 12;
export const EACCES = 13;
export const EFAULT = 14;
export const EEXIST = 17;
export const EINVAL = 22;
