//! Instances in etcd, as due v2.5 writes them there.
