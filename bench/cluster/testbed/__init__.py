"""A mixed cluster on one machine: hosts as network namespaces with links and CPU shares of their own."""
