// ContainerServer
